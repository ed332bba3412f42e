"""What a rule says about the people it asks, in plain words, and the terms that follow.

The words are those of `@tool(…)` and of the config alike. What is not said falls to the config's
default, key by key, with three exceptions: `stages` stand instead of `approvers` and `quorum`;
`escalate_to` counts only while `at_timeout` escalates; `never` adds up, so that nobody who may
not decide is let in again by a tool.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, TypedDict, TypeVar

import msgspec

from orchestrator.domain.calendar import Calendar
from orchestrator.domain.consent import AtTimeout, Edits, Stage, Terms
from orchestrator.domain.terms import (
    MAX_QUORUM,
    MAX_REMINDERS,
    MAX_RISK_CHARS,
    MAX_STAGES,
    expand,
)
from orchestrator.domain.values import replace
from orchestrator.errors import ConfigError

E = TypeVar("E", bound=StrEnum)
NONE: Final = "none"
"""The word for no calendar and no quiet hours, where the default has some."""
UNZONED: Final = ""
"""The time zone of quiet hours that are those of the calendar's."""


class Words(TypedDict, total=False):
    """What `@tool(…)` takes about people beside `approvers`; see `domain.consent.Terms` for the meaning."""

    quorum: int
    stages: Sequence[Stage | Mapping[str, Any]]
    never: Sequence[str]
    four_eyes: bool
    edits: Literal["no", "same", "other"]
    at_timeout: Literal["reject", "escalate", "attention"]
    escalate_to: Sequence[str]
    reminders: Sequence[float]
    risk: str
    discreet: bool
    reason_required: bool
    together: bool
    dm_after: float
    dm_fallback: bool
    answers: bool


@dataclass(frozen=True, slots=True)
class People:
    """How people are asked; None or empty for the config's default. Made by `said`."""

    quorum: int | None = None
    stages: tuple[Stage, ...] = ()
    never: tuple[str, ...] = ()
    four_eyes: bool | None = None
    edits: Edits | None = None
    at_timeout: AtTimeout | None = None
    escalate_to: tuple[str, ...] = ()
    reminders: tuple[float, ...] | None = None
    risk: str | None = None
    discreet: bool | None = None
    reason_required: bool | None = None
    together: bool | None = None
    calendar: Calendar | Literal["none"] | None = None
    quiet_hours: Calendar | Literal["none"] | None = None
    dm_after: float | None = None
    dm_fallback: bool | None = None
    answers: bool | None = None


def said(words: Mapping[str, Any], base: People | None = None) -> People:
    """`base` with what the words say instead, each a key of `CHECKS`; None means not said.

    Raises:
        ConfigError: A value that cannot be meant.
    """
    base = base or People()
    new: dict[str, Any] = {}
    for key, value in words.items():
        if value is not None:
            new[key] = CHECKS[key](key, value)
    new["never"] = tuple(dict.fromkeys((*base.never, *new.get("never", ()))))
    if new.get("at_timeout", AtTimeout.ESCALATE) is not AtTimeout.ESCALATE:
        new.setdefault("escalate_to", ())
    return replace(base, **new)


def names(key: str, value: object) -> tuple[str, ...]:
    """A list of ids as a tuple. Raises `ConfigError` for anything else."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f"{key}: should be a list of ids")
    for person in value:
        if not isinstance(person, str) or not person or any(c.isspace() for c in person):
            raise ConfigError(f"{key}: {person!r} is not an id")
    return tuple(value)


def terms_of(
    approvers: tuple[str, ...], people: People, defaults: Terms, roles: Mapping[str, Sequence[str]]
) -> Terms:
    """The defaults with what a rule says about people instead, roles spelled out.

    Raises:
        ConfigError: A role nobody knows, or `quorum` where the defaults ask in stages.
    """
    at_timeout = people.at_timeout or defaults.at_timeout
    escalate_to = people.escalate_to or (defaults.escalate_to if at_timeout is AtTimeout.ESCALATE else ())
    whole = replace(
        defaults,
        never=_expanded("never", (*defaults.never, *people.never), roles),
        at_timeout=at_timeout,
        escalate_to=_expanded("escalate_to", escalate_to, roles),
        **_replaced(people),
    )
    whole = zoned(whole, defaults)
    if people.stages:
        stages = tuple(replace(s, approvers=_expanded("stages", s.approvers, roles)) for s in people.stages)
        return replace(whole, stages=stages, approvers=(), quorum=1)
    if people.quorum is not None and defaults.stages and not approvers:
        raise ConfigError("quorum: the default asks in stages; name approvers beside it")
    quorum = people.quorum or defaults.quorum
    if approvers:
        expanded = _expanded("approvers", approvers, roles)
        return replace(whole, approvers=expanded, stages=(), quorum=quorum)
    return replace(whole, quorum=quorum)


def _replaced(people: People) -> dict[str, Any]:
    """What simply stands instead of the default."""
    told = {key: getattr(people, key) for key in (*PLAIN, *LADDER, *HOURS)}
    return {key: None if value == NONE else value for key, value in told.items() if value is not None}


def zoned(terms: Terms, *others: Terms) -> Terms:
    """The terms with quiet hours in the time zone of their calendar, else of the others', else in UTC."""
    quiet = terms.quiet_hours
    if quiet is None or quiet.timezone != UNZONED:
        return terms
    known = (hours.timezone for t in (terms, *others) for hours in (t.calendar, t.quiet_hours) if hours)
    zone = next((name for name in known if name != UNZONED), "UTC")
    return replace(terms, quiet_hours=replace(quiet, timezone=zone))


def in_words(terms: Terms) -> str:
    """For people, for example "2 of U1, U2, U3 (risk), then U4 (legal); not who asked for the run"."""
    steps = [
        (f"{step.quorum} of " if step.quorum > 1 else "")
        + ", ".join(step.approvers)
        + (f" ({step.name})" if step.name else "")
        for step in terms.steps
    ]
    extra = ["not who asked for the run"] if terms.four_eyes else []
    extra += [f"never {', '.join(terms.never)}"] if terms.never else []
    return "; ".join([", then ".join(steps), *extra])


def _expanded(key: str, entries: tuple[str, ...], roles: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    try:
        return expand(entries, roles)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None


def _number(key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_QUORUM:
        raise ConfigError(f"{key}: should be a whole number from 1 to {MAX_QUORUM}")
    return value


def _claim(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{key}: should be true or false")
    return value


def _hours(key: str, value: object) -> object:
    if value != NONE and not isinstance(value, Calendar):
        raise ConfigError(f"{key}: should be a Calendar, or none")
    return value


def _share(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigError(f"{key}: should be a share from 0 to 1")
    return float(value)


def _one_of(kind: type[E]) -> Callable[[str, object], E]:
    def check(key: str, value: object) -> E:
        if value not in tuple(kind):
            raise ConfigError(f"{key}: {value!r} is not one of {', '.join(kind)}")
        return kind(str(value))

    return check


def _risk(key: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_RISK_CHARS or not value.isprintable():
        raise ConfigError(f"{key}: should be one line of at most {MAX_RISK_CHARS} characters")
    return value


def _shares(key: str, value: object) -> tuple[float, ...]:
    shares = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (None,)
    sound = all(isinstance(s, float) and 0 < s < 1 for s in shares)
    if not sound or len(shares) > MAX_REMINDERS or list(shares) != sorted(set(shares)):
        raise ConfigError(f"{key}: should be at most {MAX_REMINDERS} ascending shares between 0 and 1")
    return shares


def _stages(key: str, value: object) -> tuple[Stage, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not 1 <= len(value) <= MAX_STAGES:
        raise ConfigError(f"{key}: should be a list of 1 to {MAX_STAGES} stages")
    stages = tuple(_stage(key, s) for s in value)
    if len({s.name for s in stages}) < len(stages):
        raise ConfigError(f"{key}: has two stages of one name")
    return stages


def _stage(key: str, value: object) -> Stage:
    told = msgspec.structs.asdict(value) if isinstance(value, Stage) else value
    if not isinstance(told, Mapping) or set(told) - {"quorum"} != {"name", "approvers"}:
        raise ConfigError(f"{key}: each has a name, approvers, and at will a quorum")
    name = told["name"]
    if not isinstance(name, str) or not name or not name.isprintable():
        raise ConfigError(f"{key}: {name!r} is not a stage's name")
    quorum = _number(f"{key}: quorum of {name}", told.get("quorum", 1))
    return Stage(name, names(f"{key}: approvers of {name}", told["approvers"]), quorum)


PLAIN: Final = (
    *("four_eyes", "edits", "reminders", "risk", "discreet", "reason_required", "answers", "together"),
)
"""What simply replaces the default."""
LADDER: Final = ("dm_after", "dm_fallback")
"""The same, of direct messages."""
HOURS: Final = ("calendar", "quiet_hours")
"""The same, but that the word `none` leaves out what the default has."""
CHECKS: Final[Mapping[str, Callable[[str, object], Any]]] = {
    "quorum": _number,
    "stages": _stages,
    "never": names,
    "four_eyes": _claim,
    "edits": _one_of(Edits),
    "at_timeout": _one_of(AtTimeout),
    "escalate_to": names,
    "reminders": _shares,
    "risk": _risk,
    "discreet": _claim,
    "reason_required": _claim,
    "together": _claim,
    "calendar": _hours,
    "quiet_hours": _hours,
    "dm_after": _share,
    "dm_fallback": _claim,
    "answers": _claim,
}
