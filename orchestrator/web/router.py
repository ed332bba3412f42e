"""Every route of the service. Each says its owner and scope in `opt`; a test holds them to that."""

from typing import Any, Final

from litestar import Router
from litestar.connection import ASGIConnection
from litestar.datastructures import ResponseHeader
from litestar.di import Provide
from litestar.handlers.base import BaseRouteHandler
from litestar.types import ASGIApp, ControllerRouterHandler, Guard

from orchestrator.web import (
    approvals,
    audit,
    callbacks,
    catalog,
    deliveries,
    effects,
    files,
    health,
    inquiries,
    jobs,
    runs,
    triggers,
)
from orchestrator.web.doors import Doors
from orchestrator.web.guards import Gatekeeper, caller
from orchestrator.web.hooks import gemini_route, slack_hooks
from orchestrator.web.metrics import Scrape, metrics
from orchestrator.web.paging import pages
from orchestrator.web.query import known_only
from orchestrator.web.slack_handler import SlackHandler
from orchestrator.web.stream import Streams
from orchestrator.web.strict import json_only

BEARER: Final = "bearer"
_HEADERS: Final = (
    ResponseHeader(name="cache-control", value="no-store", documentation_only=False),
    ResponseHeader(name="x-content-type-options", value="nosniff"),
)

_RUNS: Final = (
    runs.start_run,
    runs.list_runs,
    runs.show_run,
    runs.list_calls,
    runs.list_events,
    runs.list_run_approvals,
    runs.cancel_run,
    runs.resolve_run,
    runs.restart_run,
)
_APPROVALS: Final = (
    approvals.list_approvals,
    approvals.show_approval,
    approvals.decide,
    approvals.decide_many,
    inquiries.ask_back,
    inquiries.answer_back,
    audit.list_audit,
    audit.show_receipt,
)
_UPKEEP: Final = (
    effects.list_effects,
    effects.retry_effect,
    effects.drop_effect,
    deliveries.list_deliveries,
    deliveries.show_delivery,
    deliveries.replay_delivery,
)
_TRIGGERS: Final = (
    triggers.list_triggers,
    triggers.show_trigger,
    triggers.fire_trigger,
)
_CALLBACKS: Final = (
    callbacks.list_callbacks,
    callbacks.show_callback,
    callbacks.replay_callback,
    callbacks.list_addresses,
    callbacks.enable_address,
    callbacks.test_address,
)
_JOBS: Final = (
    jobs.list_jobs,
    jobs.show_job,
    jobs.list_run_jobs,
    jobs.resubmit_job,
    files.list_files,
    files.get_file,
)
_CATALOG: Final = (
    catalog.list_workflows,
    catalog.show_workflow,
    catalog.list_tools,
    catalog.show_tool,
)
_PROBES: Final = (health.healthz, health.readyz)


def routes(
    doors: Doors, streams: Streams, hook: ASGIApp, handler: SlackHandler | None
) -> list[ControllerRouterHandler]:
    """The API below `/v1`, the numbers for monitors, the signed endpoints, the probes."""
    admit, probe = _admission(doors), health.Probe(doors)
    probes = Router("/", route_handlers=_PROBES, dependencies={"probe": _always(probe)})
    return [
        _api(doors, streams, admit),
        _monitors(Scrape(doors, probe), admit),
        probes,
        gemini_route(hook),
        *_slack(doors, handler),
    ]


def _api(doors: Doors, streams: Streams, admit: Guard) -> Router:
    return Router(
        "/v1",
        route_handlers=[*_RUNS, *_APPROVALS, *_UPKEEP, *_TRIGGERS, *_CALLBACKS, *_JOBS, *_CATALOG],
        guards=[admit, known_only, json_only],
        dependencies={
            "doors": _always(doors),
            "streams": _always(streams),
            "caller": Provide(caller),
            "pages": Provide(pages),
        },
        request_max_body_size=doors.limits.max_body_bytes,
        response_headers=_HEADERS,
        security=[{BEARER: []}],
    )


def _monitors(scrape: Scrape, admit: Guard) -> Router:
    return Router(
        "/",
        route_handlers=[metrics],
        guards=[admit],
        dependencies={"scrape": _always(scrape)},
        response_headers=_HEADERS,
        security=[{BEARER: []}],
    )


def _slack(doors: Doors, handler: SlackHandler | None) -> list[Router]:
    """Where Slack posts to; nothing without Slack, or where it is heard over a connection of ours."""
    if doors.slack is None or doors.slack.listener is not None or handler is None:
        return []
    posted = slack_hooks(doors, doors.slack, handler)
    return [Router("/", route_handlers=posted, middleware=[doors.counters.at("slack")])]


def _admission(doors: Doors) -> Guard:
    """Who may come in, and how often: one pace for all routes."""
    keeper = Gatekeeper(doors.tokens, per_minute=doors.limits.requests_per_minute, clock=doors.clock)

    async def admit(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        # A function, not the bound method: Litestar copies guards per handler, and with them the pace.
        await keeper.admit(connection, handler)

    return admit


def _always(value: object) -> Provide:
    """The same thing for every request."""

    async def give() -> object:
        return value

    return Provide(give)
