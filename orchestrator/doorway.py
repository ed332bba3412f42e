"""Makes `web.doors.Doors`, all that HTTP handlers need, from the settings and the parts of the process."""

from orchestrator import arming, clients, from_settings
from orchestrator.engine.breakers import Openings
from orchestrator.engine.intake import Intake
from orchestrator.engine.perform import Performer
from orchestrator.parts import Around, Ground, WakeUps
from orchestrator.readiness import State
from orchestrator.settings import Settings
from orchestrator.slack.gateway import SlackGateway
from orchestrator.toolkit.report import list_tools
from orchestrator.web.callback_wishes import CallbackDoor
from orchestrator.web.doors import (
    Doors,
    SlackDoor,
    Token,
    TriggerDoor,
    alone,
)


def doors(
    ground: Ground,
    around: Around,
    performer: Performer,
    intake: Intake,
    state: State,
    wake_ups: WakeUps,
    openings: Openings,
) -> Doors:
    """All that the handlers of a process stand on."""
    settings, slack = ground.settings, around.slack
    return Doors(
        database=ground.database,
        intake=intake,
        clock=ground.clock,
        tokens=[Token(t.name, t.sha256, t.scopes, t.user, t.expires) for t in settings.api.callers],
        workflows={name: from_settings.workflow(settings, name) for name in settings.workflows},
        tools=list_tools(ground.tools),
        webhook=clients.static(settings),
        dynamic=around.dynamic,
        whisper=slack.whisper if slack else _nobody_to_tell,
        standing=slack.groups.of if slack else alone,
        readiness=state.checks,
        slack=_slack_door(settings, slack, state) if slack else None,
        limits=from_settings.door_limits(settings),
        wake=wake_ups.wake,
        mail=wake_ups.mail,
        counters=ground.counters,
        breakers=state.standings,
        openings=openings,
        polling=ground.polling,
        triggers=TriggerDoor(performer.triggers, arming.verifiers(settings)),
        callbacks=CallbackDoor(around.callbacks, settings.callbacks.retry),
        files=around.files,
    )


def _slack_door(settings: Settings, slack: SlackGateway, state: State) -> SlackDoor:
    return SlackDoor(
        secrets=[s.reveal() for s in settings.slack.signing_secrets],
        teams=lambda: state.workspace.teams,
        app_id=settings.slack.app_id,
        tolerance_seconds=settings.slack.tolerance_seconds,
        open_view=slack.open_view,
        publish=slack.publish,
        listener=state.socket,
        removed=slack.removed,
    )


async def _nobody_to_tell(*, channel: str, user: str, text: str, response_url: str = "") -> None:
    """Without Slack nobody clicks, so nobody is whispered to."""
