"""The Web API's HTTP side: arguments in any form Slack takes, token, trouble on order, answers.

The answer is a raw ASGI application, because some of the trouble is a connection that ends without an answer.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from litestar import Request
from litestar.di import NamedDependency
from litestar.handlers import route
from litestar.params import FromPath
from litestar.types import ASGIApp, Receive, Scope, Send

from orchestrator.emulator.slack.arguments import whole_text
from orchestrator.emulator.slack.faults import ApiFault
from orchestrator.emulator.slack.limits import HISTORY
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.scopes import APP_TOKEN_METHODS, channel_of, check_scope, check_token
from orchestrator.emulator.slack.tickets import Refused

OUTAGE = b"out of order"
"""As a proxy in front of Slack would say it: plain text, which the SDK hands on as a bare string."""
HTML_ERROR = b"<html><body><h1>503 Service Unavailable</h1></body></html>"


@route("/api/{method:str}", http_method=["GET", "POST"], status_code=200)
async def call(
    method: FromPath[str], request: Request[Any, Any, Any], slack: NamedDependency[LocalSlack]
) -> ASGIApp:
    """Any Web API method."""
    body = await request.body()

    async def answer(_: Scope, receive: Receive, send: Send) -> None:
        await _Exchange(slack, method, request, body, receive, send).run()

    return answer


class _Exchange:
    """One call, from its bytes to its answer or the lack of one."""

    def __init__(
        self,
        slack: LocalSlack,
        method: str,
        request: Request[Any, Any, Any],
        body: bytes,
        receive: Receive,
        send: Send,
    ) -> None:
        self._slack = slack
        self._method = method
        self._request = request
        self._body = body
        self._receive = receive
        self._send = send

    async def run(self) -> None:
        fault = self._slack.faults.take(self._method)
        if fault is None:
            await self._answer(*self._perform())
        elif fault.kind == "hang":
            await self._hang(fault)
        else:
            await self._trouble(fault)

    async def _hang(self, fault: ApiFault) -> None:
        """Nothing for a while, then the usual answer, unless the caller has gone."""
        done = self._perform() if fault.stored else None
        if await self._caller_left(fault.seconds):
            return
        await self._answer(*(done or self._perform()))

    async def _caller_left(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                while (await self._receive())["type"] != "http.disconnect":
                    continue
        except TimeoutError:
            return False
        return True

    async def _trouble(self, fault: ApiFault) -> None:
        if fault.stored or fault.kind == "accept_then_reset":
            self._perform()
        else:
            self._slack.note_call(self._method, self._arguments_or_none(), fault.kind)
        match fault.kind:
            case "reset" | "accept_then_reset":
                await self._drop()
            case "ok_false":
                await self._answer(200, {"ok": False, "error": fault.error})
            case "html":
                status = fault.status if fault.status != 500 else 503
                await self._write(status, HTML_ERROR, "text/html; charset=utf-8")
            case _ if fault.status == 429:
                await self._too_fast(fault.retry_after)
            case _:
                await self._write(fault.status, OUTAGE, "text/plain")

    def _perform(self) -> tuple[int, dict[str, Any], int | None]:
        """HTTP status, answer and seconds to wait, if told to."""
        try:
            args = arguments(self._request, self._body)
        except Refused as refused:
            return self._refusal({}, refused)
        try:
            self._check_token(args)
            wait = self._wait(args)
            if wait:
                self._slack.note_call(self._method, args, "ratelimited")
                return 429, {"ok": False, "error": "ratelimited"}, wait
            answer = self._slack.call(self._method, args)
        except Refused as refused:
            return self._refusal(args, refused)
        self._slack.note_call(self._method, args, "ok")
        return 200, {"ok": True, **answer}, None

    def _refusal(self, args: Mapping[str, Any], refused: Refused) -> tuple[int, dict[str, Any], None]:
        self._slack.note_call(self._method, args, refused.error)
        return 200, {"ok": False, "error": refused.error, **refused.extra}, None

    def _arguments_or_none(self) -> dict[str, Any]:
        try:
            return arguments(self._request, self._body)
        except Refused:
            return {}

    def _check_token(self, args: Mapping[str, Any]) -> None:
        header = self._request.headers.get("authorization", "")
        token = header.removeprefix("Bearer ") or args.get("token")
        settings = self._slack.settings
        check_token(self._method, token, bot=settings.bot_token, app=settings.app_token)
        workspace = self._slack.workspace
        check_scope(self._method, workspace.channel(channel_of(args)), workspace.switches.scopes)

    def _wait(self, args: dict[str, Any]) -> int:
        slack, switches = self._slack, self._slack.workspace.switches
        limited = switches.history_limited and self._method in HISTORY
        if not (switches.rate_limits or limited):
            return 0
        return slack.limits.wait(self._method, args, slack.clock(), history_limited=limited)

    async def _answer(self, status: int, answer: dict[str, Any], wait: int | None = None) -> None:
        extra = {} if wait is None else {"retry-after": str(wait)}
        if self._method not in APP_TOKEN_METHODS:
            extra["x-oauth-scopes"] = ",".join(self._slack.workspace.switches.scopes)
        await self._write(status, json.dumps(answer).encode(), "application/json; charset=utf-8", extra)

    async def _too_fast(self, wait: int) -> None:
        await self._answer(429, {"ok": False, "error": "ratelimited"}, wait)

    async def _write(
        self, status: int, body: bytes, kind: str, extra: Mapping[str, str] | None = None
    ) -> None:
        named = {"content-type": kind, "content-length": str(len(body)), **(extra or {})}
        headers = [(name.encode(), value.encode()) for name, value in named.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def _drop(self) -> None:
        """End the connection with no answer: uvicorn's `receive` belongs to a cycle that knows its transport.

        On a server that hides it, an answer is begun and left unfinished, which ends the connection as well.
        """
        transport = getattr(getattr(self._receive, "__self__", None), "transport", None)
        if transport is None:
            headers = [(b"content-length", b"1000")]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            return
        transport.abort()
        await self._caller_left(1.0)


def arguments(request: Request[Any, Any, Any], body: bytes) -> dict[str, Any]:
    """A call's arguments from its query and its body, form or JSON; the body wins.

    Raises:
        Refused: `invalid_json`, `json_not_object`, `invalid_post_type`.
    """
    query = dict(parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True))
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not body:
        return query
    if kind == "application/json":
        return {**query, **_json(body)}
    if kind != "application/x-www-form-urlencoded":
        raise Refused("invalid_post_type")
    return {**query, **dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))}


def _json(body: bytes) -> dict[str, Any]:
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused("invalid_json") from None
    if not isinstance(decoded, dict):
        raise Refused("json_not_object")
    return {key: whole_text(value) for key, value in decoded.items()}
