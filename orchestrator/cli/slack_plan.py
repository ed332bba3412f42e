"""What the settings want of Slack, for the manifest, the check and `doctor`."""

from collections.abc import Iterator

from orchestrator import app, clients, tooling
from orchestrator.domain.choosing import CHOOSE_MEDIA
from orchestrator.domain.consent import Terms
from orchestrator.domain.terms import is_group
from orchestrator.settings import Settings
from orchestrator.slack import manifest
from orchestrator.slack.checkup import Checked, Plan, check
from orchestrator.slack.web_api import WebApi


def _asked(settings: Settings) -> Iterator[tuple[str, Terms]]:
    """Everything people may be asked about, under which terms. Raises `ConfigError`."""
    toolkit = tooling.toolkit(settings)
    yield "approvals", settings.default_terms()
    for name, workflow in settings.workflows.items():
        for tool in workflow.tools:
            gate = toolkit.gate(tool, name)
            if gate.rule.may_ask:
                yield f"approvals of {tool}", gate.terms


def channels(settings: Settings) -> dict[str, str]:
    """Every channel that is posted to, with what is posted there. Raises `ConfigError`."""
    found: dict[str, list[str]] = {settings.slack.channel: []} if settings.slack.channel else {}
    for use, terms in _asked(settings):
        if terms.channel and "approvals" not in (uses := found.setdefault(terms.channel, [])):
            uses.append(use)
    if settings.audit.channel:
        found.setdefault(settings.audit.channel, []).append("heads of the audit")
    return {channel: ", ".join(dict.fromkeys(uses)) for channel, uses in found.items()}


def groups(settings: Settings) -> list[str]:
    """Every user group on which a decision may depend. Raises `ConfigError`."""
    found: dict[str, None] = {}
    for _, terms in _asked(settings):
        named = (terms.never, terms.escalate_to, *(step.approvers for step in terms.steps))
        found |= dict.fromkeys(entry for entries in named for entry in entries if is_group(entry))
    return list(found)


def _direct(settings: Settings) -> bool:
    """Whether somebody may get a question as a direct message."""
    return any(
        terms.dm_fallback or terms.dm_after is not None or bool(terms.escalate_to)
        for _, terms in _asked(settings)
    )


def _pictures(settings: Settings) -> bool:
    """Whether people are asked to choose among files somewhere."""
    return any(tool.name == CHOOSE_MEDIA for tool in tooling.built_in(settings))


def plan(settings: Settings, *, post: bool = False) -> Plan:
    """What is to be looked at. Raises `ConfigError`."""
    named, posted = groups(settings), channels(settings)
    return Plan(
        scopes=manifest.scopes(
            groups=bool(named), direct=_direct(settings), channels=posted, pictures=_pictures(settings)
        ),
        channels=posted,
        groups=named,
        teams=settings.slack.team_ids,
        post_to=settings.slack.channel if post else None,
    )


async def looks(settings: Settings, *, post: bool = False) -> list[Checked]:
    """Ask Slack. Raises `ConfigError` where the tools do not load: they may name channels and groups."""
    slack = settings.slack
    api = WebApi(
        slack.bot_token.reveal(),
        clock=app.now,
        base_url=slack.api_url,
        timeout_seconds=slack.timeout_seconds,
        blip_seconds=0.3,
    )
    socket = clients.slack_socket(settings, app.now)
    try:
        return await check(api, plan(settings, post=post), socket=socket, clock=app.now)
    finally:
        await api.aclose()
        if socket is not None:
            await socket.aclose()
