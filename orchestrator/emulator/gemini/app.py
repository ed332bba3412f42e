"""The stand-in as an ASGI app: Gemini's paths under any version, and the control API beside them."""

import logging
from typing import Any, Final

from litestar import Litestar, Request, delete, get, patch, post
from litestar.exceptions import HTTPException
from litestar.params import FromPath

from orchestrator.emulator.gemini import control
from orchestrator.emulator.gemini.emulator import Emulator
from orchestrator.emulator.gemini.errors import ApiError, classic_body, unknown_parameter
from orchestrator.emulator.gemini.exchange import Answer, BreakableApp, answer, as_json, emulator_of
from orchestrator.emulator.gemini.faults import Fault
from orchestrator.emulator.gemini.jobdoors import DOORS
from orchestrator.emulator.gemini.settings import EmulatorSettings

log = logging.getLogger(__name__)
Http = Request[Any, Any, Any]
VERBS: Final = {"ping": "webhooks.ping", "rotateSigningSecret": "webhooks.rotate"}
KEY_SET_MAX_AGE: Final = "public, max-age=3600"


def build(settings: EmulatorSettings | None = None) -> Litestar:
    """The ASGI app; `app.state.emulator` is its `Emulator`.

    Raises:
        ScenarioError: The scenarios of the settings cannot be played.
        ApiError: A webhook of the settings could not be registered.
    """
    emulator = Emulator(settings)
    app = BreakableApp(
        route_handlers=[*INTERACTIONS, *WEBHOOKS, *DOORS, key_set, control.router()],
        on_shutdown=[emulator.aclose],
        exception_handlers={ApiError: _refused, HTTPException: _unrouted, Exception: _failed},
        openapi_config=None,
        logging_config=None,
    )
    app.state.emulator = emulator
    return app


@post("/{version:str}/interactions", status_code=200)
async def create_interaction(request: Http) -> Answer:
    """Start or continue a conversation."""
    return await answer(request, "create", emulator_of(request).create)


@get("/{version:str}/interactions/{name:str}")
async def get_interaction(request: Http, name: FromPath[str]) -> Answer:
    """An interaction with its whole timeline."""

    async def work(project: str, _: Any, fault: Fault | None) -> Any:
        for parameter in request.query_params:
            if parameter not in ("stream", "include_input", "last_event_id"):
                raise unknown_parameter(parameter)
        if request.query_params.get("stream") == "true":
            raise ApiError(501, "Streaming is not implemented here.")
        return emulator_of(request).get(project, name, fault)

    return await answer(request, "get", work, subject=name)


@post("/{version:str}/interactions/{name:str}/cancel", status_code=200)
async def cancel_interaction(request: Http, name: FromPath[str]) -> Answer:
    """Stop an interaction that runs in the background."""

    async def work(project: str, _: Any, fault: Fault | None) -> Any:
        return emulator_of(request).cancel(project, name, fault)

    return await answer(request, "cancel", work, subject=name)


@delete("/{version:str}/interactions/{name:str}", status_code=200)
async def delete_interaction(request: Http, name: FromPath[str]) -> Answer:
    """Forget an interaction."""

    async def work(project: str, _: Any, __: Fault | None) -> Any:
        emulator_of(request).interactions.delete(project, name)
        return {}

    return await answer(request, "delete", work, subject=name)


@post("/{version:str}/webhooks", status_code=200)
async def create_webhook(request: Http) -> Answer:
    """Register a webhook."""

    async def work(project: str, body: Any, _: Fault | None) -> Any:
        return emulator_of(request).webhooks.create(project, body)

    return await answer(request, "webhooks.create", work)


@get("/{version:str}/webhooks")
async def list_webhooks(request: Http) -> Answer:
    """The registered webhooks, in pages."""

    async def work(project: str, _: Any, __: Fault | None) -> Any:
        query = request.query_params
        return emulator_of(request).webhooks.list(project, query.get("page_size"), query.get("page_token"))

    return await answer(request, "webhooks.list", work)


@get("/{version:str}/webhooks/{name:str}")
async def get_webhook(request: Http, name: FromPath[str]) -> Answer:
    """A registered webhook."""

    async def work(project: str, _: Any, __: Fault | None) -> Any:
        emulator = emulator_of(request)
        return emulator.webhooks.get(project, name).view(emulator.clock.now())

    return await answer(request, "webhooks.get", work, subject=name)


@patch("/{version:str}/webhooks/{name:str}")
async def update_webhook(request: Http, name: FromPath[str]) -> Answer:
    """Change a webhook: the fields of the body, whatever `update_mask` says."""

    async def work(project: str, body: Any, _: Fault | None) -> Any:
        return emulator_of(request).webhooks.update(project, name, body)

    return await answer(request, "webhooks.update", work, subject=name)


@delete("/{version:str}/webhooks/{name:str}", status_code=200)
async def delete_webhook(request: Http, name: FromPath[str]) -> Answer:
    """Forget a webhook."""

    async def work(project: str, _: Any, __: Fault | None) -> Any:
        emulator_of(request).webhooks.delete(project, name)
        return {}

    return await answer(request, "webhooks.delete", work, subject=name)


@post("/{version:str}/webhooks/{target:str}", status_code=200)
async def webhook_verb(request: Http, target: FromPath[str]) -> Answer:
    """`{id}:ping` and `{id}:rotateSigningSecret`."""
    name, _, verb = target.partition(":")
    if verb not in VERBS:
        return as_json(classic_body(404, "Method not found."), 404)

    async def work(project: str, body: Any, _: Fault | None) -> Any:
        emulator = emulator_of(request)
        if verb == "rotateSigningSecret":
            return emulator.webhooks.rotate(project, name, body)
        emulator.courier.ping(emulator.webhooks.get(project, name))
        return {}

    return await answer(request, VERBS[verb], work, subject=name)


@get("/.well-known/jwks.json")
async def key_set(request: Http) -> Answer:
    """The public keys of dynamic deliveries; no API key is asked for."""

    async def work(_: str, __: Any, fault: Fault | None) -> Any:
        return emulator_of(request).jwks(fault)

    response = await answer(request, "jwks", work, keyed=False)
    response.headers["cache-control"] = KEY_SET_MAX_AGE
    return response


INTERACTIONS: Final = [create_interaction, get_interaction, cancel_interaction, delete_interaction]
WEBHOOKS: Final = [create_webhook, list_webhooks, get_webhook, update_webhook, delete_webhook, webhook_verb]


def _refused(_: Http, error: ApiError) -> Answer:
    return as_json(error.body(), error.status)


def _unrouted(_: Http, error: HTTPException) -> Answer:
    # A path or method nobody knows is answered in the older shape, and always as 404.
    status = 404 if error.status_code in (404, 405) else error.status_code
    extra = f" {error.extra}" if error.extra else ""
    return as_json(classic_body(status, f"{error.detail}{extra}"), status)


def _failed(request: Http, error: Exception) -> Answer:
    log.error("the emulator failed in %s %s", request.method, request.url.path, exc_info=error)
    return as_json(ApiError(500, "The emulator itself failed; see its log.").body(), 500)
