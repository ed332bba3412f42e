"""Faults that no setting shows alone: two that contradict each other, or one that points nowhere."""

from collections.abc import Iterator

from orchestrator.settings.environment import suggest
from orchestrator.settings.fields import Path
from orchestrator.settings.model import Settings
from orchestrator.settings.sections import DAY_SECONDS, ENV_TOKEN

Fault = tuple[Path, str]


def contradictions(settings: Settings) -> Iterator[Fault]:
    """Each as the path of the setting to change, and what is wrong with it."""
    yield from _too_late(settings)
    yield from _nobody(settings)
    if settings.slack.enabled and not settings.slack.channel:
        yield ("slack", "channel"), "is missing; needed while slack.enabled is true"
    yield from _unheard(settings)
    yield from _unasked(settings)


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
    if asking and not settings.approvals.approvers:
        text = f"is missing; needed because runs of {asking[0]} ask people by themselves"
        yield ("approvals", "approvers"), text


def _too_late(settings: Settings) -> Iterator[Fault]:
    """A request must lapse before Gemini forgets the interaction that asked."""
    days = settings.gemini.retention_days
    text = f"must be below gemini.retention_days ({days:g} days)"
    if settings.approvals.timeout_seconds >= days * DAY_SECONDS:
        yield ("approvals", "timeout_seconds"), text
    for name, override in settings.tools.overrides.items():
        if (override.timeout_seconds or 0) >= days * DAY_SECONDS:
            yield ("tools", "overrides", name, "timeout_seconds"), text


def _nobody(settings: Settings) -> Iterator[Fault]:
    """`api:<name>` must be a token that may decide."""
    able = {f"api:{ENV_TOKEN}", *(f"api:{t.name}" for t in settings.api.tokens if "decide" in t.scopes)}
    lists: list[tuple[Path, tuple[str, ...]]] = [(("approvals", "approvers"), settings.approvals.approvers)]
    lists += [
        (("tools", "overrides", n, "approvers"), o.approvers or ())
        for n, o in settings.tools.overrides.items()
    ]
    for path, approvers in lists:
        for i, approver in enumerate(approvers):
            if approver.startswith("api:") and approver not in able:
                yield (
                    (*path, i),
                    f"names no token of api.tokens with the scope decide{suggest(approver, able)}",
                )
