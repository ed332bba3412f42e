"""Faults that no setting shows alone: two that contradict each other, or one that points nowhere."""

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.domain.consent import Terms
from orchestrator.domain.terms import ROLE, expand, faults, is_group
from orchestrator.domain.values import replace
from orchestrator.settings.approvals import Approvals, PolicyOverride
from orchestrator.settings.environment import suggest
from orchestrator.settings.fields import Path
from orchestrator.settings.model import Settings
from orchestrator.settings.sections import DAY_SECONDS, ENV_TOKEN
from orchestrator.settings.triggers import Trigger, trigger_faults

Fault = tuple[Path, str]


def contradictions(settings: Settings) -> Iterator[Fault]:
    """Each as the path of the setting to change, and what is wrong with it."""
    yield from _too_late(settings)
    places = list(_places(settings))
    yield from _nobody(settings, [*places, *((("triggers", n), t) for n, t in settings.triggers.items())])
    yield from _not_together(places)
    yield from _nobody_left(settings, places)
    yield from _not_there(settings)
    if settings.slack.enabled and not settings.slack.channel:
        yield ("slack", "channel"), "is missing; needed while slack.enabled is true"
    if settings.audit.channel and not settings.slack.enabled:
        yield ("audit", "channel"), "needs slack.enabled: nothing is posted without Slack"
    if settings.work.dispatcher == "pgqueuer" and settings.database.url.reveal().startswith("sqlite:"):
        yield ("work", "dispatcher"), "pgqueuer needs PostgreSQL; database.url names a SQLite file"
    yield from _unheard(settings)
    yield from _unasked(settings)
    yield from trigger_faults(settings.triggers, settings.workflows)
    yield from _unattended(settings)
    yield from _followed(settings)


def _followed(settings: Settings) -> Iterator[Fault]:
    """Hooks name workflows that take text, and none comes back to itself: it would go on for ever."""
    workflows = settings.workflows
    for name, workflow in workflows.items():
        for end, names in workflow.on.value.items():
            for i, follower in enumerate(names):
                path = ("workflows", name, "on", end, i)
                if follower not in workflows:
                    yield path, f"there is no workflow {follower!r}{suggest(follower, workflows)}"
                elif workflows[follower].input is not None and not workflows[follower].steps:
                    yield path, f"{follower} declares an input; one that follows is given JSON text"
                elif name in _after(settings, follower):
                    yield path, f"{follower} comes back to {name}, for ever"


def _after(settings: Settings, first: str) -> set[str]:
    """That workflow and all that may follow from its end."""
    found, left = set[str](), [first]
    while left:
        if (name := left.pop()) not in found and name in settings.workflows:
            found.add(name)
            left += [follower for names in settings.workflows[name].on.value.values() for follower in names]
    return found


def _unheard(settings: Settings) -> Iterator[Fault]:
    """What a way to hear of news cannot do without."""
    w = settings.webhooks
    if w.mode == "dynamic" and settings.public_url is None:
        yield ("public_url",), "is missing; needed while webhooks.mode is dynamic"
    if w.jwt_audience is not None and w.jwt_issuer is None:
        yield ("webhooks", "jwt_issuer"), "is missing; needed while webhooks.jwt_audience is set"


def _unasked(settings: Settings) -> Iterator[Fault]:
    """A run's own questions go to the usual approvers: without any, every plan would lapse."""
    asking = [name for name, workflow in settings.workflows.items() if workflow.asks_by_itself]
    if asking and not settings.approvals.approvers and not settings.approvals.stages:
        text = f"is missing; needed because runs of {asking[0]} ask people by themselves"
        yield ("approvals", "approvers"), text


def _unattended(settings: Settings) -> Iterator[Fault]:
    """What nobody is there for is shown at an hour, which must be named."""
    for name, workflow in settings.workflows.items():
        if not workflow.attended and workflow.digest is None and settings.approvals.digest is None:
            text = f"is missing; needed because workflows.{name}.attended is false"
            yield ("approvals", "digest"), text
        if workflow.attended and workflow.digest is not None:
            yield ("workflows", name, "digest"), "needs attended: false beside it"


Place = tuple[Path, Approvals | PolicyOverride]


def _places(settings: Settings) -> Iterator[Place]:
    """Everywhere that says how people are asked."""
    yield ("approvals",), settings.approvals
    for tool, override in settings.tools.overrides.items():
        yield ("tools", "overrides", tool), override
    for name, workflow in settings.workflows.items():
        for tool, special in workflow.overrides.items():
            yield ("workflows", name, "overrides", tool), special


def _too_late(settings: Settings) -> Iterator[Fault]:
    """A request must lapse before Gemini forgets the interaction that asked, even if it escalates before."""
    days, usual = settings.gemini.retention_days, settings.approvals
    for path, place in _places(settings):
        escalates = (place.at_timeout or usual.at_timeout) == "escalate"
        seconds = place.timeout_seconds or usual.timeout_seconds
        # an override that says neither inherits what is told of once, at its source
        says = place.timeout_seconds is not None or place.at_timeout == "escalate"
        if says and seconds * (2 if escalates else 1) >= days * DAY_SECONDS:
            share = "half of " if escalates else ""
            yield (*path, "timeout_seconds"), f"must be below {share}gemini.retention_days ({days:g} days)"


def _entries(path: Path, place: Approvals | PolicyOverride | Trigger) -> Iterator[tuple[Path, str]]:
    """Every person, group, token or role that a place names, with where it stands."""
    lists: list[tuple[Path, Sequence[str]]] = [
        ((*path, key), getattr(place, key, None) or ()) for key in ("approvers", "never", "escalate_to")
    ]
    stages = () if isinstance(place, Trigger) else place.stages or ()
    lists += [((*path, "stages", i, "approvers"), s.approvers) for i, s in enumerate(stages)]
    if isinstance(place, Approvals):
        lists += [((*path, "roles", name), members) for name, members in place.roles.items()]
    for where, entries in lists:
        yield from (((*where, i), entry) for i, entry in enumerate(entries))


def _nobody(
    settings: Settings, places: Sequence[tuple[Path, Approvals | PolicyOverride | Trigger]]
) -> Iterator[Fault]:
    """`api:<name>` must be a token that may decide, a role must exist, and only Slack knows its groups."""
    able = {f"api:{ENV_TOKEN}", *(f"api:{t.name}" for t in settings.api.tokens if "decide" in t.scopes)}
    users = {f"api:{t.name}": t.user for t in settings.api.callers if t.user}
    roles = settings.approvals.roles
    for where, entry in (found for place in places for found in _entries(*place)):
        role = entry.removeprefix(ROLE)
        if entry.startswith("api:") and entry not in able:
            yield (
                where,
                f"names no token of api.tokens with the scope decide{suggest(entry, able)}",
            )
        elif entry in users:
            yield where, f"is a token that decides as {users[entry]}; name that user"
        elif role != entry and role not in roles:
            yield where, f"names no role of approvals.roles; known are {', '.join(roles) or 'none'}"
        elif is_group(entry) and not settings.slack.enabled:
            yield where, "is a Slack user group, which needs slack.enabled"


def _not_together(places: Sequence[Place]) -> Iterator[Fault]:
    """Settings of one place that exclude each other."""
    for path, place in places:
        quorum = place.quorum if isinstance(place, PolicyOverride) else place.quorum > 1
        if place.stages and (place.approvers or quorum):
            other = "approvers" if place.approvers else "quorum"
            yield (*path, "stages"), f"stand instead of {other}; leave out one of them"


def _not_there(settings: Settings) -> Iterator[Fault]:
    """A workflow's terms for a tool that it has not."""
    for name, workflow in settings.workflows.items():
        has, where = workflow.has(name), "steps" if workflow.steps else "tools"
        for tool in workflow.overrides:
            if tool not in has:
                text = f"is not among workflows.{name}.{where}{suggest(tool, has)}"
                yield ("workflows", name, "overrides", tool), text


def _nobody_left(settings: Settings, places: Sequence[Place]) -> Iterator[Fault]:
    """What a place says of people must be possible by itself; the toolkit looks at the whole."""
    roles = settings.approvals.roles
    if any(e.removeprefix(ROLE) not in roles for p in places for _, e in _entries(*p) if e.startswith(ROLE)):
        return  # told already
    usual = settings.default_terms()
    for path, place in places:
        if not place.approvers and not place.stages:
            continue
        terms = usual if isinstance(place, Approvals) else _alone(place, usual, roles)
        yield from (((*path, key), text) for key, text in faults(terms))


def _alone(place: PolicyOverride, usual: Terms, roles: Mapping[str, Sequence[str]]) -> Terms:
    """What an override says of who decides, and nothing that the tool itself may say otherwise."""
    return Terms(
        approvers=expand(place.approvers or (), roles),
        quorum=place.quorum or 1,
        stages=tuple(replace(s.value, approvers=expand(s.approvers, roles)) for s in place.stages or ()),
        never=expand((*usual.never, *(place.never or ())), roles),
    )
