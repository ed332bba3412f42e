"""The Litestar app around the routes: errors, the OpenAPI document, what lives as long as the service."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import fields
from typing import Any, Final

from litestar import Litestar, Router
from litestar.datastructures import ResponseHeader
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, OpenAPI, SecurityScheme
from litestar.types import ASGIApp, Receive, Scope, Send
from litestar.types.internal_types import PathParameterDefinition

from orchestrator.engine.refused_webhooks import Refusals
from orchestrator.store.changes import Changes
from orchestrator.web import stream, trigger_hook
from orchestrator.web.doors import Doors
from orchestrator.web.head_requests import answering_heads
from orchestrator.web.hooks import DYNAMIC, GEMINI, dynamic_hook, gemini_hook
from orchestrator.web.patience import in_time
from orchestrator.web.problems import MEDIA, handlers
from orchestrator.web.reference import POLICY, ReferencePage
from orchestrator.web.router import BEARER, routes
from orchestrator.web.samples import SAMPLES
from orchestrator.web.slack_handler import SlackHandler
from orchestrator.web.whispers import Whispers

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]

_HTTP: Final[str] = "http"
VERSION: Final = "1"
"""Of the API, as in its paths; not of the program."""


def build_app(
    doors: Doors, lifespan: Lifespan | None = None, streams: stream.Streams | None = None
) -> Litestar:
    """The service's one ASGI app.

    Args:
        lifespan: Entered before the first request, left after the last whisper.
        streams: Handed in by who ends them; a server that stops waits for them, then leaves the lifespan.
    """
    refusals = Refusals(doors.database, doors.clock, unkept=doors.counters.unkept)
    whispers, hook = Whispers(doors.whisper), gemini_hook(doors, refusals)
    handler = SlackHandler(doors, doors.slack, whispers) if doors.slack is not None else None
    streams = streams or stream.Streams(doors.database, Changes(doors.database), doors.clock, doors.hidden)
    app = Litestar(
        routes(doors, streams, hook, handler),
        lifespan=[
            *([lifespan] if lifespan else []),
            *(streams.changes.owned, whispers.owned, refusals.owned),
            *_heard(doors, handler),  # the last to begin, the first to end
        ],
        exception_handlers=handlers(doors.failures),
        logging_config=None,
        openapi_config=_openapi(),
    )
    litestar = answering_heads(trigger_hook.beside(in_time(app.asgi_handler, doors.failures), doors))
    app.asgi_handler = _ahead(doors.failures.heard(_beside(litestar, doors, refusals)), hook)
    return app


def _heard(doors: Doors, handler: SlackHandler | None) -> list[Lifespan]:
    """Where Slack is heard over a connection of ours, as long as the service is there."""
    listener = doors.slack.listener if doors.slack is not None else None
    if listener is None or handler is None:
        return []
    return [lambda _: listener.hearing(handler.over_socket)]


def _ahead(litestar: ASGIApp, hook: ASGIApp) -> ASGIApp:
    """The webhook endpoint before Litestar's stack, which would double what a delivery costs."""

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        hot = scope["path"] == GEMINI and scope["type"] == _HTTP
        await (hook if hot else litestar)(scope, receive, send)

    return handler


def _beside(litestar: ASGIApp, doors: Doors, refusals: Refusals) -> ASGIApp:
    """The dynamic webhook address, for whoever knows it; to others it is a path like any unknown one."""
    if (door := doors.dynamic) is None:
        return litestar
    hook = dynamic_hook(doors, refusals, door)

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        below = scope["type"] == _HTTP and path.startswith(DYNAMIC)
        await (hook if below and door.knows(path.removeprefix(DYNAMIC)) else litestar)(scope, receive, send)

    return handler


class _Document(OpenAPI):
    """Drawn up when somebody first asks for it: it takes longer than all else at the start."""

    def to_schema(self) -> dict[str, Any]:
        return _tightened(super().to_schema())


class _Documented(OpenAPIConfig):
    def to_openapi_schema(self) -> OpenAPI:
        plain = super().to_openapi_schema()
        return _Document(**{f.name: getattr(plain, f.name) for f in fields(plain)})


def _openapi() -> OpenAPIConfig:
    bearer = SecurityScheme(type="http", scheme="bearer", description="A token of `api.tokens`.")
    headers = {"content-security-policy": POLICY, "x-content-type-options": "nosniff"}
    return _Documented(
        title="gemini-orchestrator",
        version=VERSION,
        description="Start long-running Gemini interactions, decide about their tool calls, read the record.",
        use_handler_docstrings=True,
        operation_id_creator=_operation_id,
        components=Components(security_schemes={BEARER: bearer}),
        render_plugins=[ReferencePage(path="/")],
        openapi_router=Router(
            "/docs",
            route_handlers=[],
            include_in_schema=False,
            opt={"scope": "open", "owner": "docs"},
            response_headers=[ResponseHeader(name=k, value=v) for k, v in headers.items()],
        ),
    )


def _operation_id(handler: HTTPRouteHandler, _method: Any, _path: list[str | PathParameterDefinition]) -> str:
    return handler.handler_name


def _tightened(document: dict[str, Any]) -> dict[str, Any]:
    """What Litestar enforces and does not document: unknown fields, when to try again, a second form.

    Nor is a default named that would be refused if it were sent: it stands for what was left out.
    """
    schemas = document["components"]["schemas"]
    for name in _taken(document["paths"], schemas):
        if "properties" in schemas[name]:
            schemas[name]["additionalProperties"] = False
        for field in schemas[name].get("properties", {}).values():
            default = field.get("default")
            if isinstance(default, str) and not re.search(field.get("pattern", ""), default):
                del field["default"]
    for kind, sample in SAMPLES.items():
        schemas[kind.__name__]["examples"] = [sample]
    _name_headers(document["paths"])
    told = {"type": "string", "description": "`entry` events, each an EventOut; at last `end`."}
    record = document["paths"]["/v1/runs/{run_id}/events"]["get"]
    record["responses"]["200"]["content"][stream.MEDIA] = {"schema": told}
    return document


def _name_headers(paths: dict[str, Any]) -> None:
    """A refusal for now says when to try again, and whoever begins a run, or began it before, where it is."""
    later = {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}
    place = {"description": "Path of the run.", "schema": {"type": "string"}}
    for operation in (operation for path in paths.values() for operation in path.values()):
        responses = operation["responses"]
        for code in {"429", "503"} & set(responses):
            if MEDIA in responses[code]["content"]:
                responses[code]["headers"] = {"retry-after": later}
        for code in ("200", "202") if "202" in responses else ():
            responses[code].setdefault("headers", {})["location"] = place


def _taken(paths: dict[str, Any], schemas: dict[str, Any]) -> set[str]:
    """The schemas that bodies of requests are made of, and those that these are made of."""
    sent = [operation.get("requestBody") for path in paths.values() for operation in path.values()]
    found, rest = set[str](), [*_named(sent)]
    while rest:
        if (name := rest.pop()) not in found:
            found.add(name)
            rest += _named(schemas[name])
    return found


def _named(value: Any) -> Iterator[str]:
    """The schemas it refers to."""
    if isinstance(value, dict):
        if isinstance(ref := value.get("$ref"), str):
            yield ref.rpartition("/")[2]
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _named(inner)
