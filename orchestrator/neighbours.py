"""Gemini and Slack, as the settings describe them."""

from orchestrator.engine.breakers import is_away
from orchestrator.engine.ports import Clock
from orchestrator.gemini.gateway import GeminiGateway
from orchestrator.settings import Settings
from orchestrator.slack.gateway import SlackGateway
from orchestrator.slack.refusals import SlackUnavailableError


def slack_away(error: Exception) -> bool | None:
    """Where Slack itself said not now, it is there: it means one channel and method, or our token.

    The gateway leaves that channel alone, and the outbox the effect; other channels need not wait.
    """
    return None if isinstance(error, SlackUnavailableError) else is_away(error)


def gemini(settings: Settings, clock: Clock) -> GeminiGateway:
    g = settings.gemini
    return GeminiGateway(
        api_key=g.api_key.reveal(),
        base_url=g.base_url,
        api_version=g.api_version,
        timeout_seconds=g.timeout_seconds,
        resend_tools=g.resend_tools,
        now=clock,
    )


def slack(settings: Settings, clock: Clock) -> SlackGateway | None:
    s = settings.slack
    if not s.enabled:
        return None
    return SlackGateway(
        s.bot_token.reveal(),
        clock=clock,
        base_url=s.api_url,
        timeout_seconds=s.timeout_seconds,
        response_hosts=s.response_url_hosts,
    )
