"""The emulator's own HTTP API, under `/_emulator`, where no Gemini path can be.

For tests and demos that drive the stand-in from another process; `Emulator` has the same as methods.
"""

from typing import Any

import msgspec
from litestar import Request, Router, delete, get, post
from litestar.params import FromPath, JSONBody

from orchestrator.emulator.gemini.errors import ApiError, invalid
from orchestrator.emulator.gemini.exchange import Answer, as_json, emulator_of
from orchestrator.emulator.gemini.faults import KINDS
from orchestrator.emulator.gemini.scenarios import ScenarioError

Json = dict[str, Any]
Http = Request[Any, Any, Any]


class NewScenarios(msgspec.Struct, forbid_unknown_fields=True):
    """Scenarios and plans for jobs in the form of the file; put first, or in place of all others."""

    scenarios: list[Any] = []
    jobs: list[Any] = []
    replace: bool = False


class Advance(msgspec.Struct, forbid_unknown_fields=True):
    """How far to move the clock."""

    seconds: float


class NewStatus(msgspec.Struct, forbid_unknown_fields=True):
    """Where to bring an interaction; as `Emulator.move`."""

    status: str
    text: str | None = None
    errors: list[dict[str, str]] = []
    event: str | None = None


class Send(msgspec.Struct, forbid_unknown_fields=True):
    """What to deliver now; as `Emulator.deliver`."""

    delivery: str | None = None
    interaction: str | None = None
    event: str | None = None
    uri: str | None = None
    body: Any = None
    message_id: str | None = None
    bad_signature: bool = False
    foreign_signature: bool = False
    other_scheme: bool = False
    altered: bool = False
    timestamp_offset: float = 0.0
    headers: dict[str, str | None] | None = None
    copies: int = 1


class BatchEnd(msgspec.Struct, forbid_unknown_fields=True):
    """Where to bring a batch; as `Emulator.end_batch`."""

    state: str
    message: str = "The batch failed."


class VideoEnd(msgspec.Struct, forbid_unknown_fields=True):
    """Where to bring a video; as `Emulator.end_video`."""

    end: str | None = None


class Release(msgspec.Struct, forbid_unknown_fields=True):
    """In which order the held deliveries go out."""

    newest_first: bool = False


@get("/stats")
async def stats(request: Http) -> Answer:
    """What has happened so far."""
    return as_json(emulator_of(request).stats())


@get("/ledger")
async def ledger(request: Http) -> Answer:
    """How often each long job was begun, read and fetched."""
    return as_json(emulator_of(request).ledger())


@post("/scenarios", status_code=200)
async def add_scenarios(request: Http, data: JSONBody[NewScenarios]) -> Answer:
    """Add or replace scenarios."""
    emulator = emulator_of(request)
    try:
        names = emulator.add_scenarios({"scenarios": data.scenarios}, replace=data.replace)
        names += emulator.add_jobs(data.jobs, replace=data.replace)
    except ScenarioError as error:
        raise invalid(str(error)) from error
    return as_json({"added": names})


@post("/clock/advance", status_code=200)
async def advance(request: Http, data: JSONBody[Advance]) -> Answer:
    """Move the virtual clock; answers when all that fell due has been done."""
    emulator = emulator_of(request)
    try:
        await emulator.advance(data.seconds)
    except RuntimeError as error:
        raise ApiError(409, str(error)) from error
    return as_json({"now": emulator.clock.now().isoformat()})


@post("/deliver", status_code=200)
async def deliver(request: Http, data: JSONBody[Send]) -> Answer:
    """Send deliveries now, right or wrong."""
    try:
        attempts = await emulator_of(request).deliver(**msgspec.structs.asdict(data))
    except KeyError as error:
        raise ApiError(404, f"No such delivery or interaction: {error}.") from error
    return as_json({"attempts": [attempt.view() for attempt in attempts]})


@post("/release", status_code=200)
async def release(request: Http, data: JSONBody[Release]) -> Answer:
    """Send the held deliveries."""
    return as_json({"released": await emulator_of(request).release(newest_first=data.newest_first)})


@get("/faults")
async def list_faults(request: Http) -> Answer:
    """What is queued, how often each kind struck, and which kinds there are."""
    faults = emulator_of(request).faults
    return as_json({"faults": faults.view(), "struck": dict(faults.used), "kinds": KINDS})


@post("/faults", status_code=200)
async def add_fault(request: Http, data: JSONBody[Json]) -> Answer:
    """Queue a fault: `operation`, `kind` and options."""
    try:
        emulator_of(request).inject(**data)
    except (TypeError, ValueError) as error:
        raise invalid(str(error)) from error
    return as_json({"faults": emulator_of(request).faults.view()})


@delete("/faults", status_code=200)
async def clear_faults(request: Http) -> Answer:
    """Forget every queued fault."""
    emulator_of(request).faults.clear()
    return as_json({"faults": []})


@post("/interactions/{name:str}/status", status_code=200)
async def move(request: Http, name: FromPath[str], data: JSONBody[NewStatus]) -> Answer:
    """Bring an interaction to a status."""
    try:
        moved = await emulator_of(request).move(
            name, data.status, text=data.text, errors=tuple(data.errors), event=data.event
        )
    except KeyError as error:
        raise ApiError(404, f"No such interaction: {name}.") from error
    return as_json(moved.view())


@post("/batches/{name:str}/state", status_code=200)
async def end_batch(request: Http, name: FromPath[str], data: JSONBody[BatchEnd]) -> Answer:
    """Bring a batch to an end."""
    try:
        ended = emulator_of(request).end_batch(name, data.state, data.message)
    except KeyError as error:
        raise ApiError(404, f"No such batch: {name}.") from error
    except ValueError as error:
        raise invalid(str(error)) from error
    return as_json(ended.view())


@post("/operations/{name:str}/end", status_code=200)
async def end_video(request: Http, name: FromPath[str], data: JSONBody[VideoEnd]) -> Answer:
    """Bring a video to an end; `name` is the last part of its operation's."""
    try:
        ended = emulator_of(request).end_video(name, data.end)
    except KeyError as error:
        raise ApiError(404, f"No such operation: {name}.") from error
    except ValueError as error:
        raise invalid(str(error)) from error
    return as_json(ended.view())


@post("/keys/rotate", status_code=200)
async def rotate_keys(request: Http) -> Answer:
    """Publish a fresh key set and sign with it."""
    emulator_of(request).rotate_keys()
    return as_json({})


@post("/reset", status_code=200)
async def reset(request: Http) -> Answer:
    """Back to the beginning."""
    await emulator_of(request).reset()
    return as_json({})


def router() -> Router:
    """The control routes."""
    handlers = [
        stats,
        ledger,
        add_scenarios,
        advance,
        deliver,
        release,
        list_faults,
        add_fault,
        clear_faults,
        move,
        end_batch,
        end_video,
        rotate_keys,
        reset,
    ]
    return Router("/_emulator", route_handlers=handlers)
