"""What each answer, and each kind of silence, means: nothing happened, it may have, or it is final."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from orchestrator.domain.exchange import Correlation, CreateRequest, FunctionCall
from orchestrator.domain.model import Recipe
from orchestrator.domain.retry import told_wait
from orchestrator.domain.values import replace
from orchestrator.emulator.serving import free_port
from orchestrator.errors import (
    ConfigError,
    OrchestratorError,
    RejectedError,
    UnavailableError,
    UncertainError,
    UnreadAnswerError,
)
from orchestrator.gemini.connection import MAX_REFUSAL_BYTES
from orchestrator.gemini.gateway import GeminiGateway
from orchestrator.gemini.library import MOST_ON_THE_LOOP, Answer, asked_pause

KEY = "AIza-canary-key"
NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
REQUEST = CreateRequest(Recipe("w", model="gemini-3.8-flash"), Correlation("run_1", 1, 1), "hi")
LIVE = {"id": "v1_a", "status": "in_progress"}


def gateway(base_url: str, **settings: Any) -> GeminiGateway:
    quick = {"timeout_seconds": 60.0, "retry_wait_seconds": 0.0, "now": lambda: NOW}
    return GeminiGateway(api_key=KEY, base_url=base_url, **{**quick, **settings})


@pytest.fixture
def opened(serving: Callable[[], Any]) -> Any:
    """`async with opened(timeout_seconds=...) as (server, gateway)`"""

    @asynccontextmanager
    async def both(**settings: Any) -> Any:
        async with serving() as server:
            gemini = gateway(server.base_url, **settings)
            try:
                yield server, gemini
            finally:
                await gemini.aclose()

    return both


def error(code: Any, message: str = "told so") -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


async def fails(work: Any) -> OrchestratorError:
    with pytest.raises(OrchestratorError) as caught:
        await work
    assert KEY not in str(caught.value)
    return caught.value


@pytest.mark.asyncio
@pytest.mark.parametrize("client", ["httpx", "httpx2"])
async def test_nothing_on_this_machine_goes_through_a_proxy(
    opened: Any, reply: Any, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_GENAI_HTTP_CLIENT", client)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    async with opened() as (server, gemini):
        server.answer(reply.of(LIVE))
        assert (await gemini.fetch("v1_a")).interaction_id == "v1_a"


@pytest.mark.asyncio
async def test_what_is_elsewhere_goes_through_the_proxy(
    serving: Any, reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as proxy:
        proxy.answer(reply.of(LIVE))
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url)
        gemini = gateway("http://gemini.test")
        try:
            assert (await gemini.fetch("v1_a")).interaction_id == "v1_a"
        finally:
            await gemini.aclose()
        [asked] = proxy.requests
    assert asked.target.startswith("http://gemini.test/")


# ------------------------------------------------------------------ create


@pytest.mark.asyncio
async def test_create_reads_the_answer(opened: Any, reply: Any) -> None:
    async with opened() as (server, gemini):
        server.answer(reply.of({**LIVE, "steps": [{"type": "function_call", "id": "c", "name": "f"}]}))
        snapshot = await gemini.create(REQUEST)
    assert (snapshot.interaction_id, snapshot.status) == ("v1_a", "in_progress")
    assert snapshot.calls == (FunctionCall("c", "f", {}),)
    assert server.requests[0].json["input"] == "hi"


@pytest.mark.asyncio
async def test_create_refused_for_good(opened: Any, reply: Any) -> None:
    table = [
        (400, error("parameter_unknown"), "parameter_unknown"),
        (404, error("model_not_found"), "model_not_found"),
        (404, [{"error": {"code": 404, "message": "told so", "status": "NOT_FOUND"}}], "not_found"),
        (404, {"error": {"code": 404, "message": "told so"}}, "not_found"),
        (404, error("interaction_not_found"), "not_found"),
        (405, {"error": "told so"}, "http_405"),
        (422, {"error": {"code": 422}}, "422"),
        (501, error("unimplemented"), "unimplemented"),
    ]
    async with opened() as (server, gemini):
        for status, body, code in table:
            server.answer(reply.of(body, status))
            caught = await fails(gemini.create(REQUEST))
            assert isinstance(caught, RejectedError), status
            assert caught.code == code
            assert len(server.requests) == 1


@pytest.mark.asyncio
async def test_a_refusal_that_may_pass_is_final_the_second_time(opened: Any, reply: Any) -> None:
    passing = error("invalid_request", "There was a problem processing your request.")
    async with opened() as (server, gemini):
        server.answer(reply.of(passing, 400))
        assert isinstance(await fails(gemini.create(REQUEST)), UncertainError)
        again = replace(REQUEST, correlation=replace(REQUEST.correlation, attempt=2))
        assert isinstance(await fails(gemini.create(again)), RejectedError)
        assert len(server.requests) == 2


@pytest.mark.asyncio
async def test_an_address_that_a_create_names_is_in_no_error(opened: Any, reply: Any) -> None:
    uri = "https://hooks.example.com/webhooks/gemini/t0ken-canary"
    async with opened(webhook_uris=[uri]) as (server, gemini):
        for quoted in (uri, "/webhooks/gemini/t0ken-canary", "t0ken-canary"):
            server.answer(reply.of(error("bad_uri", f"cannot use {quoted} as an address"), 400))
            caught = await fails(gemini.create(REQUEST))
            assert "canary" not in str(caught)
            assert "as an address" in str(caught)
            assert server.requests[0].json["webhook_config"]["uris"] == [uri]


@pytest.mark.asyncio
async def test_create_that_certainly_did_not_start(opened: Any, reply: Any) -> None:
    async with opened() as (server, gemini):
        key, bill = "check the API key", "check the billing of the key's project"
        for status, hint in ((401, key), (402, bill), (403, key), (429, "")):
            server.answer(reply.of(error("x"), status, retry_after="7"))
            caught = await fails(gemini.create(REQUEST))
            assert isinstance(caught, UnavailableError), status
            assert caught.retry_after == 7.0
            assert [h for h in (key, bill) if h in str(caught)] == ([hint] if hint else [])
            assert len(server.requests) == 1


@pytest.mark.asyncio
async def test_an_answer_about_another_interaction_is_none_to_this_create(opened: Any, reply: Any) -> None:
    """Whoever took the one before for the new one would store its calls a second time."""
    going_on = replace(REQUEST, previous_id="v1_a")
    sent = {"run": REQUEST.correlation.run, "turn": 9, "attempt": 1}
    others = [{**sent, "run": "run_other"}, {"run": "run_other", "turn": "1", "attempt": "1"}]
    async with opened() as (server, gemini):
        server.answer(reply.of(LIVE))
        assert isinstance(await fails(gemini.create(going_on)), UnreadAnswerError)
        for told in others:
            server.answer(reply.of({**LIVE, "webhook_config": {"user_metadata": told}}))
            assert isinstance(await fails(gemini.create(REQUEST)), UnreadAnswerError)
        for told in (sent, {"run": "run_other"}, {}, None, "text"):
            server.answer(reply.of({**LIVE, "webhook_config": {"user_metadata": told}}))
            assert (await gemini.create(REQUEST)).interaction_id == "v1_a"


@pytest.mark.asyncio
async def test_create_that_may_have_started(opened: Any, reply: Any) -> None:
    answers = [
        *(reply.of(error("x"), status) for status in (408, 409, 499, 500, 502, 503, 504, 529, 302, 303)),
        reply.of(error("x"), 503, retry_after="1"),
        reply.of(LIVE, 201),
        reply(204),
        *(
            reply.of(value)
            for value in (None, [], "text", 7, {}, {"id": "v1_a"}, {"id": "a/b", "status": "x"})
        ),
        reply(200, b"<html>sign in</html>", {"content-type": "text/html"}),
        reply(200, b'{"id": "v1_a", "sta', {"content-type": "application/json"}),
        reply(200, b"", {"content-type": "application/json"}),
        reply(200, b"\xff\xfe", {"content-type": "application/json"}),
        reply(200, b"no gzip", {"content-type": "application/json", "content-encoding": "gzip"}),
        reply(act="reset"),
        reply(200, b'{"id": "v1_a"', act="cut"),
    ]
    async with opened() as (server, gemini):
        for answer in answers:
            server.answer(answer)
            lost = await fails(gemini.create(REQUEST))
            assert isinstance(lost, UncertainError), answer
            whole = (answer.status, answer.act) == (200, "answer") and answer.body != b"no gzip"
            assert isinstance(lost, UnreadAnswerError) == whole, answer
            assert len(server.requests) == 1, answer


@pytest.mark.asyncio
async def test_create_follows_no_redirect_with_the_key(opened: Any, reply: Any) -> None:
    async with opened() as (server, gemini):
        server.answer(reply(307, headers={"location": f"{server.base_url}/elsewhere"}), reply.of(LIVE))
        assert isinstance(await fails(gemini.create(REQUEST)), UncertainError)
        assert len(server.requests) == 1


@pytest.mark.asyncio
async def test_create_without_an_answer_in_time(opened: Any, reply: Any) -> None:
    for act, seconds in (("silence", 60.0), ("drip", 0.5)):  # a byte now and then must not hold a worker
        async with opened(timeout_seconds=seconds) as (server, gemini):
            await gemini.warm()
            server.answer(reply(200, b" " * 4000, act=act))
            assert isinstance(await fails(gemini.create(REQUEST)), UncertainError), act
            assert len(server.requests) == 1


@pytest.mark.asyncio
async def test_create_without_a_connection() -> None:
    gemini = gateway(f"http://127.0.0.1:{free_port()}")
    caught = await fails(gemini.create(REQUEST))
    await gemini.aclose()
    assert isinstance(caught, UnavailableError)
    assert "ConnectError" in str(caught)


@pytest.mark.asyncio
async def test_create_when_nobody_picks_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.gemini.library.CONNECT_SECONDS", 0.3)
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    callers = [socket.socket() for _ in range(4)]
    for caller in callers:  # fill the queue of those waiting to be let in
        caller.setblocking(False)
        caller.connect_ex(full.getsockname())
    gemini = gateway(f"http://127.0.0.1:{full.getsockname()[1]}")
    caught = await fails(gemini.create(REQUEST))
    await gemini.aclose()
    for sock in (full, *callers):
        sock.close()
    assert isinstance(caught, UnavailableError)
    assert "ConnectTimeout" in str(caught)


@pytest.mark.asyncio
async def test_create_over_tls_that_fails_sends_nothing(opened: Any, reply: Any) -> None:
    async with opened() as (server, _):
        server.answer(reply.of(LIVE))
        gemini = gateway(server.base_url.replace("http://", "https://"), timeout_seconds=1.0)
        assert isinstance(await fails(gemini.create(REQUEST)), UnavailableError)
        await gemini.aclose()


@pytest.mark.asyncio
async def test_create_of_what_json_cannot_say_is_not_sent(opened: Any, reply: Any) -> None:
    odd = CreateRequest(
        Recipe("w", model="m", generation_config={"t": float("nan")}), REQUEST.correlation, "hi"
    )
    async with opened() as (server, gemini):
        server.answer(reply.of(LIVE))
        assert isinstance(await fails(gemini.create(odd)), RejectedError)
        assert server.requests == []


# ------------------------------------------------------------------ fetch


@pytest.mark.asyncio
async def test_fetch_tries_blips_again(opened: Any, reply: Any) -> None:
    blips = [
        *(reply.of(error("x"), status) for status in (408, 409, 499, 500, 502, 503, 504, 302)),
        reply(204),
        reply.of(None),
        reply.of({"id": "v1_other", "status": "completed"}),
        reply(200, b"<html>", {"content-type": "text/html"}),
        reply(200, b'{"id": "v1_a"', act="cut"),
        reply(act="reset"),
    ]
    async with opened() as (server, gemini):
        for blip in blips:
            server.answer(blip, blip, reply.of(LIVE))
            assert (await gemini.fetch("v1_a")).status == "in_progress", blip
            assert len(server.requests) == 3, blip


@pytest.mark.asyncio
async def test_fetch_gives_up_after_three_tries_and_says_so(opened: Any, reply: Any) -> None:
    async with opened() as (server, gemini):
        server.answer(reply.of(error("api_error", "down"), 500))
        with structlog.testing.capture_logs() as lines:
            caught = await fails(gemini.fetch("v1_a"))
        assert isinstance(caught, UnavailableError)
        assert "api_error: down" in str(caught)
        assert len(server.requests) == 3
        assert [line["event"] for line in lines] == ["gemini_blip", "gemini_blip"]


@pytest.mark.asyncio
async def test_fetch_without_an_answer_or_a_connection(opened: Any, reply: Any) -> None:
    async with opened() as (server, gemini):
        server.answer(reply(act="silence"))
        assert isinstance(await fails(gemini.fetch("v1_a")), UnavailableError)
        assert len(server.requests) == 3
    gemini = gateway(f"http://127.0.0.1:{free_port()}")
    assert isinstance(await fails(gemini.fetch("v1_a")), UnavailableError)
    await gemini.aclose()


@pytest.mark.asyncio
async def test_a_try_that_took_too_long_is_the_last(
    opened: Any, reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.gemini.mapping.RETRY_WITHIN_SECONDS", 0.0)
    async with opened() as (server, gemini):
        server.answer(reply(act="silence"))
        for work in (gemini.fetch("v1_a"), gemini.cancel("v1_a")):
            server.requests.clear()
            assert isinstance(await fails(work), UnavailableError)
            assert len(server.requests) == 1


@pytest.mark.asyncio
async def test_a_connection_that_does_not_come_about_is_tried_again() -> None:
    gemini = gateway(f"http://127.0.0.1:{free_port()}")
    for work, blips in ((gemini.fetch("v1_a"), 2), (gemini.cancel("v1_a"), 2), (gemini.create(REQUEST), 0)):
        with structlog.testing.capture_logs() as lines:
            assert isinstance(await fails(work), UnavailableError)
        assert [line["event"] for line in lines] == ["gemini_blip"] * blips
    await gemini.aclose()


@pytest.mark.asyncio
async def test_fetch_that_is_told_to_wait_or_mend_the_key_is_not_repeated(opened: Any, reply: Any) -> None:
    date = "Sat, 21 Nov 2026 10:01:30 GMT"
    table = [(429, {"retry_after": "12"}, 12.0), (429, {"retry_after": date}, 90.0), (429, {}, None)]
    table += [(503, {"retry_after": "3"}, 3.0), (429, {"retry_after_ms": "2500"}, 2.5)]
    table += [(401, {}, None), (402, {}, None), (403, {}, None)]
    async with opened() as (server, gemini):
        for status, headers, seconds in table:
            server.answer(reply.of(error("x"), status, **headers))
            caught = await fails(gemini.fetch("v1_a"))
            assert isinstance(caught, UnavailableError)
            assert (status, caught.retry_after) == (status, seconds)
            assert len(server.requests) == 1


@pytest.mark.asyncio
async def test_fetch_of_what_is_not_there(opened: Any, reply: Any) -> None:
    async with opened() as (server, gemini):
        for status, body in ((404, error("model_not_found")), (404, None), (410, {})):
            server.answer(reply.of(body, status))
            caught = await fails(gemini.fetch("v1_a"))
            assert isinstance(caught, RejectedError)
            assert caught.code == "not_found"
            assert len(server.requests) == 1


@pytest.mark.asyncio
async def test_fetch_refused_otherwise(opened: Any, reply: Any) -> None:
    async with opened() as (server, gemini):
        for status, code in ((400, "invalid_request"), (501, "unimplemented")):
            server.answer(reply.of(error(code), status))
            caught = await fails(gemini.fetch("v1_a"))
            assert isinstance(caught, RejectedError)
            assert caught.code == code
            assert len(server.requests) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("interaction", ["", ".", "..", "../webhooks", "a/b", "a?b", "a b", "ä", "x" * 513])
async def test_impossible_ids_never_reach_an_address(opened: Any, interaction: str) -> None:
    async with opened() as (server, gemini):
        caught = await fails(gemini.fetch(interaction))
        assert isinstance(caught, RejectedError)
        assert caught.code == "not_found"
        assert await gemini.cancel(interaction) is None
        assert server.requests == []


# ------------------------------------------------------------------ cancel


@pytest.mark.asyncio
async def test_cancel_that_works(opened: Any, reply: Any) -> None:
    async with opened() as (server, gemini):
        server.answer(reply.of({}, 500), reply.of({"id": "v1_a", "status": "cancelled"}))
        snapshot = await gemini.cancel("v1_a")
    assert snapshot is not None
    assert snapshot.status == "cancelled"
    assert [request.method for request in server.requests] == ["POST", "POST"]
    assert all(request.target.endswith("/interactions/v1_a/cancel") for request in server.requests)


@pytest.mark.asyncio
async def test_cancel_that_is_refused_goes_by_the_status(opened: Any, reply: Any) -> None:
    refusals = [reply.of(error("x"), status) for status in (400, 404, 405, 409, 422, 499, 501)]
    unreadable = [reply.of({}), reply.of({"id": "v1_other", "status": "cancelled"}), reply(204)]
    async with opened() as (server, gemini):
        for answer in refusals + unreadable:
            server.answer(answer, reply.of({"id": "v1_a", "status": "completed"}))
            snapshot = await gemini.cancel("v1_a")
            assert snapshot is not None
            assert snapshot.status == "completed"
            assert [request.method for request in server.requests] == ["POST", "GET"], answer


@pytest.mark.asyncio
async def test_cancel_of_what_is_not_there(opened: Any, reply: Any) -> None:
    async with opened() as (server, gemini):
        server.answer(reply.of(error("not_found"), 404))
        assert await gemini.cancel("v1_a") is None
        server.answer(reply.of(error("x"), 400))
        assert isinstance(await fails(gemini.cancel("v1_a")), RejectedError)


@pytest.mark.asyncio
async def test_cancel_in_an_outage(opened: Any, reply: Any) -> None:
    async with opened() as (server, gemini):
        for answer, requests in (
            (reply.of({}, 503), 3),
            (reply.of({}, 408), 3),
            (reply(act="reset"), 3),
            (reply.of({}, 429, retry_after="5"), 1),
            (reply.of({}, 401), 1),
            (reply.of({}, 402), 1),
        ):
            server.answer(answer)
            assert isinstance(await fails(gemini.cancel("v1_a")), UnavailableError)
            assert len(server.requests) == requests


# ------------------------------------------------------------------ the client itself


@pytest.mark.asyncio
async def test_the_key_is_never_quoted_back(opened: Any, reply: Any) -> None:
    async with opened() as (server, gemini):
        for message in (f"bad key {KEY}", "x" * 490 + KEY, KEY * 40):
            server.answer(reply.of(error(KEY, message), 400))
            caught = await fails(gemini.create(REQUEST))
            assert isinstance(caught, RejectedError)
            assert len(str(caught)) <= 500
            assert "AIza" not in str(caught) + caught.code
        library = await gemini.connection.opened()
        assert "AIza" not in repr(gemini) + repr(library) + repr(library.create)


@pytest.mark.asyncio
async def test_after_closing_nothing_is_sent(opened: Any, reply: Any) -> None:
    async with opened() as (server, gemini):
        server.answer(reply.of(LIVE))
        await gemini.warm()
        library = await gemini.connection.opened()
        await gemini.aclose()
        await gemini.aclose()
        for work in (gemini.create(REQUEST), gemini.fetch("v1_a"), gemini.cancel("v1_a"), gemini.warm()):
            assert isinstance(await fails(work), UnavailableError)
        assert not (await library.exchange(library.create, b"{}")).sent  # type: ignore[union-attr]
        assert server.requests == []


@pytest.mark.asyncio
async def test_many_at_once_open_one_client(opened: Any, reply: Any) -> None:
    async with opened() as (server, gemini):
        server.answer(reply.of(LIVE))
        readings = await asyncio.gather(*(gemini.fetch("v1_a") for _ in range(40)))
    assert len(readings) == len(server.requests) == 40


@pytest.mark.asyncio
async def test_a_large_answer_is_read_and_an_endless_one_is_not(
    opened: Any, reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "x" * 3_000_000
    steps = [{"type": "model_output", "content": [{"type": "text", "text": text}]}]
    async with opened() as (server, gemini):
        server.answer(reply.of({**LIVE, "steps": steps}))
        assert (await gemini.fetch("v1_a")).output == text
        monkeypatch.setattr("orchestrator.gemini.library.MAX_ANSWER_BYTES", 1_000_000)
        assert isinstance(await fails(gemini.create(REQUEST)), UnreadAnswerError)
        server.requests.clear()
        refused = await fails(gemini.fetch("v1_a"))
        assert isinstance(refused, RejectedError)
        assert (refused.code, len(server.requests)) == ("too_large", 1)
        assert await gemini.cancel("v1_a") is None


@pytest.mark.asyncio
@pytest.mark.parametrize(("more", "read"), [(-1, True), (0, True), (1, False)])
async def test_an_answer_of_too_many_values_is_not_read(
    opened: Any, reply: Any, monkeypatch: pytest.MonkeyPatch, more: int, read: bool
) -> None:
    """A few megabytes of empty objects are as many values as nobody waits for: 20 million held the loop."""
    told = reply.of({**LIVE, "steps": [{}] * 500})
    values = sum(told.body.count(mark) for mark in (b",", b"{", b"["))
    monkeypatch.setattr("orchestrator.gemini.library.MAX_ANSWER_VALUES", values - more)
    async with opened() as (server, gemini):
        server.answer(told)
        if read:
            assert (await gemini.fetch("v1_a")).interaction_id == "v1_a"
            return
        assert isinstance(await fails(gemini.create(REQUEST)), UnreadAnswerError)
        refused = await fails(gemini.fetch("v1_a"))
        assert isinstance(refused, RejectedError)
        assert refused.code == "too_large"
        assert await gemini.cancel("v1_a") is None


@pytest.mark.asyncio
@pytest.mark.parametrize(("more", "beside"), [(-1, False), (0, False), (1, True)])
async def test_a_large_answer_is_read_beside_the_loop(more: int, beside: bool) -> None:
    answer = Answer(200, b"x" * (MOST_ON_THE_LOOP + more))
    reader = await answer.read(lambda content: (len(content), threading.get_ident()))
    assert reader[0] == len(answer.content)
    assert (reader[1] != threading.get_ident()) is beside


@pytest.mark.asyncio
@pytest.mark.parametrize(("more", "told"), [(0, True), (1, False)])
async def test_a_refusal_of_a_megabyte_is_none(opened: Any, reply: Any, more: int, told: bool) -> None:
    body = json.dumps({"error": {"code": "invalid_request", "message": "no such model"}}).encode()
    async with opened() as (server, gemini):
        padding = b" " * (MAX_REFUSAL_BYTES - len(body) + more)
        server.answer(reply(400, body + padding, {"content-type": "application/json"}))
        refused = await fails(gemini.fetch("v1_a"))
    assert ("no such model" in str(refused)) is told


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": ""},
        {"api_key": " \n"},
        {"api_key": "a\nb"},
        {"api_key": "schlüssel"},
        {"timeout_seconds": 0},
        {"timeout_seconds": float("nan")},
        {"base_url": ""},
        {"base_url": "gemini.example.com"},
        {"base_url": "ftp://gemini.example.com"},
        {"base_url": "http://[::1"},
        {"base_url": "http://host:port"},
        {"base_url": "https://host/?key=1"},
        {"api_version": ""},
        {"api_version": "v1/../v2"},
    ],
)
def test_settings_that_cannot_work_do_not_start(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        GeminiGateway(**{"api_key": KEY, **settings})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("2", 2.0),
        ("1.5", 1.5),
        (" 3 ", 3.0),
        ("999999999", 86_400.0),
        ("1e400", 86_400.0),
        ("Sat, 21 Nov 2026 10:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 09:00:00 GMT", 0.0),
        ("Sat, 21 Nov 2026 10:00:30 -0000", 30.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("nan", None),
        ("5 minutes", None),
    ],
)
def test_retry_after_in_its_forms(value: str, seconds: float | None) -> None:
    assert told_wait(value, NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "3500"}, 3.5),
        ({"retry-after-ms": "3500", "retry-after": "3"}, 3.5),
        ({"retry-after-ms": "500", "retry-after": "3"}, 3.0),
        ({"retry-after-ms": "250.5", "retry-after": "soon"}, 0.2505),
        ({"retry-after-ms": "9" * 12}, 86_400.0),
        ({"retry-after-ms": "-1"}, None),
        ({"retry-after-ms": "inf"}, None),
        ({}, None),
    ],
)
def test_a_pause_asked_for_in_milliseconds_counts_too(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_pause(headers, NOW) == seconds


def test_importing_the_room_does_not_import_the_library() -> None:
    code = "import sys, orchestrator.gemini.gateway as g; sys.exit('google.genai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
