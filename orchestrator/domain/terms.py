"""Terms that can be met: who stands behind an entry, and whether enough different people could say yes.

Nothing here knows who is in a Slack user group, so one counts as any number of people.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from orchestrator.domain.consent import AtTimeout, Edits, Stage, Terms
from orchestrator.domain.values import replace
from orchestrator.errors import ConfigError

ROLE: Final = "role:"
MAX_QUORUM: Final = 20
MAX_STAGES: Final = 5
MAX_REMINDERS: Final = 3
MAX_RISK_CHARS: Final = 80

Fault = tuple[str, str]
"""The name of what was set, and what is wrong with it."""


def is_group(entry: str) -> bool:
    """Whether an entry is a Slack user group (`S…`), not one person or token."""
    return entry.startswith("S") and entry.isalnum()


def expand(entries: Iterable[str], roles: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Every `role:<name>` as its members, everybody once, in order; a role in a role stays as it is.

    Raises:
        ConfigError: No such role; names those there are.
    """
    found: list[str] = []
    for entry in entries:
        name = entry.removeprefix(ROLE)
        if name == entry:
            found.append(entry)
        elif name in roles:
            found += roles[name]
        else:
            raise ConfigError(f"there is no role {name!r}; known are {', '.join(roles) or 'none'}")
    return tuple(dict.fromkeys(found))


def deciders(terms: Terms, *, escalated: bool = False) -> tuple[str, ...]:
    """Who may decide in any step, without those who may never; after an escalation `escalate_to` as well."""
    first = (p for step in terms.steps for p in possible(step, terms.never))
    return tuple(dict.fromkeys((*first, *(terms.escalate_to if escalated else ()))))


def entries(terms: Terms) -> frozenset[str]:
    """Every entry they name, to decide, to be asked later, or never to decide: whose groups must be known."""
    steps = (entry for step in terms.steps for entry in step.approvers)
    return frozenset((*steps, *terms.escalate_to, *terms.never))


def faults(terms: Terms) -> Iterator[Fault]:
    """Why these terms could never be met; nothing if they can.

    Four eyes are not looked at: who will ask for a run is not known before, see `barring`.
    """
    wrong = list(_too_few(terms))
    yield from wrong
    if not wrong and terms.edits is Edits.OTHER:
        yield from _nobody_else(terms)
    escalates = terms.at_timeout is AtTimeout.ESCALATE
    if escalates and not terms.escalate_to:
        yield "escalate_to", "is missing; needed while at_timeout is escalate"
    elif escalates and not set(terms.escalate_to) - set(terms.never):
        yield "never", "leaves nobody of escalate_to"
    elif terms.escalate_to and not escalates:
        yield "escalate_to", "is of no use unless at_timeout is escalate"


def barring(terms: Terms, asked_for_it: Iterable[str]) -> Terms:
    """The terms as they stand for a run: under four eyes who asked for it may never decide, either."""
    return replace(terms, never=(*terms.never, *asked_for_it)) if terms.four_eyes else terms


def can_be_met(terms: Terms) -> bool:
    """Whether enough different people are named for every step."""
    return not any(_too_few(terms))


def _too_few(terms: Terms) -> Iterator[Fault]:
    wrong = [fault for step in terms.steps for fault in _in_step(step, terms)]
    yield from wrong
    if not wrong and len(terms.stages) > 1 and not _enough_people(terms):
        yield "stages", "need separate people for separate stages, but not enough different ones are named"


def _nobody_else(terms: Terms) -> Iterator[Fault]:
    """What one approver changes, the others must be able to approve."""
    for author in deciders(terms):
        if not is_group(author) and any(_too_few(replace(terms, never=(*terms.never, author)))):
            yield "edits", f"is other, but too few are left to approve what {author} changes"
            return


def _in_step(step: Stage, terms: Terms) -> Iterator[Fault]:
    """Without stages the faults are told of `approvers` and `quorum`, otherwise of `stages`."""
    within = f"of stage {step.name!r} " if terms.stages else ""
    if not step.approvers:
        yield "stages" if terms.stages else "approvers", f"{within}names nobody who may decide"
        return
    people = possible(step, terms.never)
    if not people:
        yield "never", f"leaves nobody {within}to decide"
    elif step.quorum > len(people) and not any(map(is_group, people)):
        needs = f"{within}needs {step.quorum} different people, but only {len(people)} may decide"
        yield "stages" if terms.stages else "quorum", needs


def possible(step: Stage, never: Sequence[str]) -> tuple[str, ...]:
    """Who may decide in a step, without those who may never."""
    return tuple(p for p in dict.fromkeys(step.approvers) if p not in never)


def _enough_people(terms: Terms) -> bool:
    """Whether every yes of every stage can come from another person: a matching, by augmenting paths."""
    choices = [
        people
        for step in terms.stages
        for people in [possible(step, terms.never)] * step.quorum
        if not any(map(is_group, people))
    ]
    seats: dict[str, int] = {}

    def seated(choice: int, tried: set[str]) -> bool:
        for person in choices[choice]:
            if person not in tried:
                tried.add(person)
                if person not in seats or seated(seats[person], tried):
                    seats[person] = choice
                    return True
        return False

    return all(seated(i, set()) for i in range(len(choices)))
