"""The Litestar app around the routes: errors, the OpenAPI document, what lives as long as the service."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from litestar import Litestar, Router
from litestar.datastructures import ResponseHeader
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types.internal_types import PathParameterDefinition

from orchestrator.web.doors import Doors
from orchestrator.web.problems import HANDLERS
from orchestrator.web.reference import POLICY, ReferencePage
from orchestrator.web.router import BEARER, routes
from orchestrator.web.schemas import Answer, CancelOrder, NewRun, Resolution
from orchestrator.web.whispers import Whispers

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]

VERSION: Final = "1"
"""Of the API, as in its paths; not of the program."""


def build_app(doors: Doors, lifespan: Lifespan | None = None) -> Litestar:
    """The service's one ASGI app.

    Args:
        lifespan: Entered before the first request, left after the last whisper.
    """
    whispers = Whispers(doors.whisper)
    app = Litestar(
        routes(doors, whispers),
        lifespan=[*([lifespan] if lifespan else []), whispers.owned],
        exception_handlers=HANDLERS,
        logging_config=None,
        openapi_config=_openapi(),
    )
    _tighten(app)
    return app


def _openapi() -> OpenAPIConfig:
    bearer = SecurityScheme(type="http", scheme="bearer", description="A token of `api.tokens`.")
    headers = {"content-security-policy": POLICY, "x-content-type-options": "nosniff"}
    return OpenAPIConfig(
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


def _tighten(app: Litestar) -> None:
    """Litestar enforces `forbid_unknown_fields` and does not document it."""
    schemas = app.openapi_schema.components.schemas
    for request in (NewRun, CancelOrder, Resolution, Answer):
        schemas[request.__name__].additional_properties = False
