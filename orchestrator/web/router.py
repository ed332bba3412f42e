"""Every route of the service. Each says its owner and scope in `opt`; a test holds them to that."""

from typing import Any, Final

from litestar import Router
from litestar.connection import ASGIConnection
from litestar.datastructures import ResponseHeader
from litestar.di import Provide
from litestar.handlers.base import BaseRouteHandler
from litestar.types import ASGIApp, ControllerRouterHandler

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
from orchestrator.web.slack_handler import SlackHandler
from orchestrator.web.stream import Streams
from orchestrator.web.strict import json_only

BEARER: Final = "bearer"
_HEADERS: Final = (
    ResponseHeader(name="cache-control", value="no-store", documentation_only=False),
    ResponseHeader(name="x-content-type-options", value="nosniff"),
)


def routes(
    doors: Doors, streams: Streams, hook: ASGIApp, handler: SlackHandler | None
) -> list[ControllerRouterHandler]:
    """The API below `/v1`, the numbers for monitors, the signed endpoints, the probes."""

    async def provide_doors() -> Doors:
        return doors

    async def provide_streams() -> Streams:
        return streams

    scrape = Scrape(doors)

    async def provide_scrape() -> Scrape:
        return scrape

    keeper = Gatekeeper(doors.tokens, per_minute=doors.limits.requests_per_minute, clock=doors.clock)

    async def admit(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        # A function, not the bound method: Litestar copies guards per handler, and with them the pace.
        await keeper.admit(connection, handler)

    provided = {"doors": Provide(provide_doors)}
    api = Router(
        "/v1",
        route_handlers=[
            runs.start_run,
            runs.list_runs,
            runs.show_run,
            runs.list_calls,
            runs.list_events,
            runs.list_run_approvals,
            runs.cancel_run,
            runs.resolve_run,
            runs.restart_run,
            approvals.list_approvals,
            approvals.show_approval,
            approvals.decide,
            approvals.decide_many,
            inquiries.ask_back,
            inquiries.answer_back,
            audit.list_audit,
            audit.show_receipt,
            effects.list_effects,
            effects.retry_effect,
            effects.drop_effect,
            deliveries.list_deliveries,
            deliveries.show_delivery,
            deliveries.replay_delivery,
            triggers.list_triggers,
            triggers.show_trigger,
            triggers.fire_trigger,
            callbacks.list_callbacks,
            callbacks.show_callback,
            callbacks.replay_callback,
            callbacks.list_addresses,
            callbacks.enable_address,
            callbacks.test_address,
            jobs.list_jobs,
            jobs.show_job,
            jobs.list_run_jobs,
            jobs.resubmit_job,
            files.list_files,
            files.get_file,
            catalog.list_workflows,
            catalog.show_workflow,
            catalog.list_tools,
            catalog.show_tool,
        ],
        guards=[admit, json_only],
        dependencies={**provided, "caller": Provide(caller), "streams": Provide(provide_streams)},
        request_max_body_size=doors.limits.max_body_bytes,
        response_headers=_HEADERS,
        security=[{BEARER: []}],
    )
    monitors = Router(
        "/",
        route_handlers=[metrics],
        guards=[admit],
        dependencies={"scrape": Provide(provide_scrape)},
        response_headers=_HEADERS,
        security=[{BEARER: []}],
    )
    probes = Router("/", route_handlers=[health.healthz, health.readyz], dependencies=provided)
    signed: list[ControllerRouterHandler] = [gemini_route(hook)]
    if doors.slack is not None and doors.slack.ear is None and handler is not None:
        posted = slack_hooks(doors, doors.slack, handler)
        signed.append(Router("/", route_handlers=posted, middleware=[doors.counters.at("slack")]))
    return [api, monitors, probes, *signed]
