"""One request to the stand-in, from its bytes to its answer: recorded, and spoilt where a fault says so."""

import asyncio
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from litestar import Litestar, Request, Response
from litestar.types import HTTPResponseStartEvent, Message, Receive, Scope, Send

from orchestrator.emulator.gemini.emulator import Emulator
from orchestrator.emulator.gemini.errors import ApiError, classic_body, code_for, invalid
from orchestrator.emulator.gemini.faults import CALLS, CLASSIC, DRIP_SECONDS, HANG_SECONDS, Fault
from orchestrator.emulator.gemini.jobkinds import STARTS
from orchestrator.emulator.gemini.spoil import spoil

Json = dict[str, Any]
Work = Callable[[str, Any, Fault | None], Awaitable[Any]]
Answer = Response[bytes]
Http = Request[Any, Any, Any]

BREAK: Final = "x-emulator-break"  # on a response, never sent: RESET, CUT, or the seconds it is to take
RESET: Final = "reset"  # send nothing, break the connection
CUT: Final = "cut"  # send half of it, close the connection
JSON_TYPE: Final = "application/json"
RESUME_REFUSED: Final = (
    "Please ensure that function response turn comes immediately after a function call turn."
)
DROPS: Final = 20  # pieces of an answer that comes slowly
GARBAGE: Final = {
    "html": ("text/html", b"<html><body>Please try again later.</body></html>"),
    "null": (JSON_TYPE, b"null"),
    "text": (JSON_TYPE, b'"Please try again later."'),
    "list": (JSON_TYPE, b"[]"),
    "empty_body": (JSON_TYPE, b""),
    "broken_json": (JSON_TYPE, b'{"id": "v1_'),
}


class BreakableApp(Litestar):
    """A Litestar app that spoils the sending of a response marked with `BREAK`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override]
        """Serve one connection."""
        how = ""
        start: HTTPResponseStartEvent | None = None

        async def guarded(message: Message) -> None:
            nonlocal how, start
            if message["type"] == "http.response.start":
                how = next((v.decode() for k, v in message["headers"] if k == BREAK.encode()), "")
                start = message
            if not how:
                await send(message)
            elif how != RESET and start is not None and message["type"] == "http.response.body":
                await _badly(how, start, message["body"], receive, send)

        await super().__call__(scope, receive, guarded)
        if how == RESET:
            await _break(receive, send)


def emulator_of(request: Http) -> Emulator:
    """Who answers it."""
    found: Emulator = request.app.state.emulator
    return found


async def answer(
    request: Http,
    operation: str,
    work: Work,
    *,
    subject: str | None = None,
    keyed: bool = True,
    pieces: bool = False,
) -> Answer:
    """Carry out one operation.

    Args:
        operation: Its name in the stats and the fault queue.
        work: What it does; takes project, body and fault, returns the answer's JSON, raises `ApiError`.
        subject: The id it is about; for a create that is the interaction it continues.
        keyed: Does it want an API key?
        pieces: Is its body bytes of a file instead of JSON?
    """
    emulator = emulator_of(request)
    raw = await request.body()
    entry = _record(emulator, request, operation, raw, pieces=pieces)
    emulator.asked_at(str(request.base_url))

    def fits(fault: Fault) -> bool:
        """Has this request what the fault spoils?"""
        if fault.kind.startswith("resume_"):
            return subject is not None
        return fault.kind not in CALLS or emulator.has_calls(subject)

    try:
        project = emulator.project_of(request.headers.get("x-goog-api-key")) if keyed else ""
        body = raw if pieces else _decoded(raw)
        if operation == "create" and isinstance(body, dict):
            subject = body.get("previous_interaction_id")
        if operation in STARTS:
            subject = _job_of(body)
        fault = emulator.faults.take(operation, subject, fits)
        response = await _carried_out(request, fault, project, body, work)
    except ApiError as error:
        response = _refusal(operation, error)
    entry["status"] = response.status_code
    return response


def as_json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """An answer of ours."""
    return Response(
        json.dumps(body).encode(), status_code=status, media_type=JSON_TYPE, headers=headers or {}
    )


async def _carried_out(request: Http, fault: Fault | None, project: str, body: Any, work: Work) -> Answer:
    kind = fault.kind if fault else ""
    if fault is not None:
        refused = await _instead(request, fault)
        if refused is not None:
            return refused
    done = await work(project, body, fault)
    done = done if isinstance(done, Response) else as_json(spoil(kind, done))
    if fault is None:
        return done
    if kind in GARBAGE:
        media_type, content = GARBAGE[kind]
        return Response(content, status_code=200, media_type=media_type)
    return await _spoilt(request, fault, done)


async def _spoilt(request: Http, fault: Fault, done: Answer) -> Answer:
    """What becomes of the answer when the operation has been done."""
    match fault.kind:
        case "slow":
            await _wait(request, fault)
        case "accept_then_status":
            return _status(fault)
        case "accept_then_reset":
            return _broken()
        case "accept_then_silence":
            await _wait(request, fault)
            return _broken()
        case "truncated":
            done.headers[BREAK] = CUT
        case "slow_bytes":
            done.headers[BREAK] = str(fault.waits(DRIP_SECONDS))
    return done


async def _instead(request: Http, fault: Fault) -> Answer | None:
    """The answer of a fault that keeps the operation from happening at all."""
    match fault.kind:
        case "status":
            return _status(fault)
        case "reset":
            return _broken()
        case "not_found":
            return _refusal(fault.operation, ApiError(404, "Not found."))
        case "resume_refused":
            return as_json(ApiError(400, RESUME_REFUSED).body(), 400)
        case "resume_unimplemented":
            return as_json(
                ApiError(501, "Operation is not implemented, or supported, or enabled.").body(), 501
            )
        case "hang":
            await _wait(request, fault)
            return _refusal(fault.operation, ApiError(504, "Deadline exceeded."))
        case _:
            return None


def _refusal(operation: str, error: ApiError) -> Answer:
    """A refusal in the shape of the operation; where errors are of the older one, no key is a 403."""
    if not operation.startswith(CLASSIC):
        return as_json(error.body(), error.status)
    status = 403 if error.status == 401 else error.status
    return as_json(classic_body(status, error.message), status)


def _job_of(body: Any) -> str | None:
    """The `job` that a start's metadata names."""
    holder = body.get("batch", body) if isinstance(body, dict) else {}
    hook = holder.get("webhookConfig") if isinstance(holder, dict) else None
    metadata = hook.get("user_metadata", hook.get("userMetadata")) if isinstance(hook, dict) else None
    job = metadata.get("job") if isinstance(metadata, dict) else None
    return job if isinstance(job, str) else None


def _status(fault: Fault) -> Answer:
    body: Any = {"error": {"code": fault.code or code_for(fault.status), "message": fault.message}}
    if fault.shape != "new":
        body = classic_body(fault.status, fault.message)
    if fault.shape == "list":
        body = [body]
    headers = {} if fault.retry_after is None else {"retry-after": fault.retry_after}
    return as_json(body, fault.status, headers)


def _broken() -> Answer:
    return Response(b"", status_code=503, headers={BREAK: RESET})


async def _wait(request: Http, fault: Fault) -> None:
    """Let the client wait, in real time, as it is its timeout that is on trial; no longer than it does."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    leaving = asyncio.ensure_future(gone())
    await asyncio.wait({leaving}, timeout=fault.waits(HANG_SECONDS))
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)


def _decoded(raw: bytes) -> Any:
    if not raw:
        return {}
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"The request body is not valid JSON: {error}") from error


def _record(emulator: Emulator, request: Http, operation: str, raw: bytes, *, pieces: bool) -> Json:
    try:
        body = {"bytes": len(raw)} if pieces else _decoded(raw) if raw else None
    except ApiError:
        body = raw.decode(errors="replace")
    entry: Json = {
        "operation": operation,
        "at": emulator.clock.now().isoformat(),
        "method": request.method,
        "path": request.url.path,
        "query": dict(request.query_params),
        "headers": {k: v for k, v in request.headers.items() if k != "x-goog-api-key"},
        "body": body,
        "status": None,
    }
    emulator.requests.append(entry)
    return entry


async def _badly(how: str, start: HTTPResponseStartEvent, body: bytes, receive: Receive, send: Send) -> None:
    """Send half an answer and close the connection, or all of it drop by drop over `how` seconds."""
    start["headers"] = [(k, v) for k, v in start["headers"] if k != BREAK.encode()]
    await send(start)
    if how == CUT:
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        transport = getattr(getattr(send, "__self__", None), "transport", None)
        if transport is None:
            raise ConnectionResetError("connection broken by the emulator")
        transport.close()
        await _until_gone(receive)
        return
    size = max(1, -(-len(body) // DROPS))
    for at in range(0, len(body), size):
        await asyncio.sleep(float(how) / DROPS)
        await send({"type": "http.response.body", "body": body[at : at + size], "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _break(receive: Receive, send: Send) -> None:
    """Reset the connection: with the server's transport where we can reach it, else by a body cut short."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        await send(_start())
        await send({"type": "http.response.body", "body": b"{", "more_body": True})
        raise ConnectionResetError("connection broken by the emulator")
    if transport.is_closing():  # the caller was faster
        return
    # Closing with a linger time of zero sends a reset instead of an orderly end.
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as twin:
        twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await _until_gone(receive)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _start() -> Any:
    headers = [(b"content-type", JSON_TYPE.encode()), (b"content-length", b"4096")]
    return {"type": "http.response.start", "status": 200, "headers": headers}
