"""The webhook resource through the real client, against the stand-in and against answers that are none."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from orchestrator.domain.registration import EVENTS, judge
from orchestrator.emulator.gemini.app import build
from orchestrator.emulator.gemini.emulator import Emulator
from orchestrator.emulator.gemini.settings import EmulatorSettings
from orchestrator.emulator.serving import free_port, running
from orchestrator.errors import ConfigError, RejectedError, UnavailableError, UncertainError
from orchestrator.gemini.registrations import Registrations

KEY = "AIza-made-up-canary"
URI = "https://agents.example.com/webhooks/gemini"

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def opened(base_url: str, **options: Any) -> AsyncIterator[Registrations]:
    made = Registrations(api_key=KEY, base_url=base_url, retry_wait_seconds=0, **options)
    try:
        yield made
    finally:
        await made.aclose()


@asynccontextmanager
async def at_the_emulator() -> AsyncIterator[tuple[Registrations, Emulator]]:
    app = build(EmulatorSettings(seed=7))
    async with running(app) as base_url, opened(base_url) as registrations:
        yield registrations, app.state.emulator


async def test_from_create_to_delete() -> None:
    async with at_the_emulator() as (webhooks, _):
        assert await webhooks.list() == ()
        made = await webhooks.create(URI, events=EVENTS[:2], name="prod")
        assert made.secret.startswith("whsec_")
        assert made.secret not in repr(made)
        found = made.registration
        assert (found.uri, found.state, found.events, found.name) == (URI, "enabled", EVENTS[:2], "prod")
        assert [h.fits(made.secret) for h in found.secrets] == [True]
        assert await webhooks.list() == (found,)
        assert await webhooks.get(f"webhooks/{found.id}") == found

        disabled = await webhooks.change(found.id, state="disabled")
        assert (disabled.state, disabled.events) == ("disabled", EVENTS[:2])
        assert (await webhooks.change(found.id, events=EVENTS)).state == "disabled"

        renewed = await webhooks.rotate(found.id)
        newest, old = (await webhooks.get(found.id)).secrets
        assert (newest.fits(renewed), newest.ends) == (True, None)
        assert old.fits(made.secret)
        assert old.ends is not None
        last = await webhooks.rotate(found.id, at_once=True)
        assert [h.fits(last) for h in (await webhooks.get(found.id)).secrets] == [True]

        await webhooks.ping(found.id)
        await webhooks.delete(found.id)
        with pytest.raises(RejectedError) as gone:
            await webhooks.get(found.id)
        assert gone.value.code == "not_found"


async def test_every_page_is_read(serving: Callable[[], Any], reply: Any) -> None:
    def page(name: str, **more: str) -> Any:
        hook = {"id": name, "uri": URI, "state": "enabled", "subscribed_events": None}
        return reply.of({"webhooks": [hook], **more})

    async with serving() as server, opened(server.base_url + "/gemini") as webhooks:
        server.answer(page("a", next_page_token="t/1"), page("b", next_page_token="t2"), page("c"))
        assert [r.id for r in await webhooks.list()] == ["a", "b", "c"]
        assert server.requests[1].target == "/gemini/v1beta/webhooks?page_size=100&page_token=t%2F1"
        assert server.requests[0].headers["x-goog-api-key"] == KEY
        server.answer(page("a", next_page_token="again"))
        with pytest.raises(UnavailableError, match="do not end"):
            await webhooks.list()


async def test_nothing_on_this_machine_goes_through_a_proxy(
    serving: Callable[[], Any], reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    async with serving() as server, opened(server.base_url) as webhooks:
        server.answer(reply.of({"webhooks": []}))
        assert await webhooks.list() == ()


async def test_a_change_says_no_more_than_it_should(serving: Callable[[], Any], reply: Any) -> None:
    """A PATCH applies every field of its body, whatever a mask says."""
    async with serving() as server, opened(server.base_url) as webhooks:
        server.answer(reply.of({"id": "a", "uri": URI, "state": "enabled"}))
        await webhooks.change("a", state="enabled")
        assert server.requests[0].json == {"state": "enabled"}
        assert server.requests[0].target == "/v1beta/webhooks/a"
        server.answer(reply.of({"secret": "whsec_AAAA"}))
        assert await webhooks.rotate("a", at_once=True) == "whsec_AAAA"
        assert server.requests[0].json == {"revocation_behavior": "revoke_previous_secrets_immediately"}


ODD = (None, [], "text", {"webhooks": "x"}, {"webhooks": [3]}, {"webhooks": [{"uri": URI}]})


async def test_an_answer_that_is_none_is_no_empty_list(serving: Callable[[], Any], reply: Any) -> None:
    async with serving() as server, opened(server.base_url) as webhooks:
        for body in ODD:
            server.answer(reply.of(body))
            with pytest.raises(UnavailableError, match="not a webhook"):
                await webhooks.list()
        server.answer(reply.of({}))
        assert await webhooks.list() == ()


async def test_one_that_says_little_of_itself_hides_no_other(serving: Callable[[], Any], reply: Any) -> None:
    """The list has everybody's of the project, and nothing says which fields an answer always has."""
    ours = {"id": "b", "uri": URI, "state": "enabled", "subscribed_events": ["batch.failed"]}
    async with serving() as server, opened(server.base_url) as webhooks:
        server.answer(reply.of({"webhooks": [{"id": "a"}, {"id": "c", "uri": "https://c.example"}, ours]}))
        first, second, third = await webhooks.list()
    assert (first.id, first.uri, first.state) == ("a", "", "unknown")
    assert (second.uri, second.state, third.state) == ("https://c.example", "unknown", "enabled")
    verdict = judge((first, second, third), address=URI, events=("batch.failed",))
    assert (verdict.well, verdict.registration) == (True, third)


async def test_what_may_be_repeated_outlives_two_blips() -> None:
    async with at_the_emulator() as (webhooks, emulator):
        for kind, options in (
            ("status", {"status": 503}),
            ("status", {"status": 409}),
            ("reset", {}),
            ("html", {}),
        ):
            emulator.inject("webhooks.list", kind, times=2, **options)
            assert await webhooks.list() == ()
            emulator.inject("webhooks.list", kind, times=3, **options)
            with pytest.raises(UnavailableError):
                await webhooks.list()


MISHAPS: tuple[tuple[str, dict[str, Any], type[Exception]], ...] = (
    ("accept_then_status", {"status": 503}, UncertainError),
    ("accept_then_reset", {}, UncertainError),
    ("html", {}, UncertainError),
    ("null", {}, UncertainError),
    ("hang", {"seconds": 600.0}, UncertainError),
    ("status", {"status": 429, "retry_after": "3"}, UnavailableError),
    ("status", {"status": 403}, UnavailableError),
    ("status", {"status": 400, "shape": "list"}, RejectedError),
)


async def test_a_secret_is_asked_for_once() -> None:
    app = build(EmulatorSettings(seed=7))
    emulator: Emulator = app.state.emulator
    async with running(app) as base_url, opened(base_url, timeout_seconds=2) as webhooks:
        hook = (await webhooks.create(URI, events=EVENTS)).registration.id
        calls = {
            "webhooks.create": lambda: webhooks.create(URI, events=EVENTS),
            "webhooks.rotate": lambda: webhooks.rotate(hook),
        }
        for operation, call in calls.items():
            for kind, options, expected in MISHAPS:
                before = emulator.stats()["counts"].get(operation, 0)
                emulator.inject(operation, kind, **options)
                with pytest.raises(expected) as told:
                    await call()
                assert type(told.value) is expected or expected is UnavailableError
                assert emulator.stats()["counts"][operation] - before == 1
                wait = 3.0 if "retry_after" in options else None
                assert getattr(told.value, "retry_after", None) == wait


async def test_the_key_goes_to_one_host_and_into_no_text(serving: Callable[[], Any], reply: Any) -> None:
    async with serving() as elsewhere, serving() as server, opened(server.base_url) as webhooks:
        elsewhere.answer(reply.of({}))
        server.answer(reply.of({}, 302, location=f"{elsewhere.base_url}/x"))
        with pytest.raises(UnavailableError):
            await webhooks.list()
        assert elsewhere.requests == []
        error = {"code": KEY, "message": f"{'x' * 200} the key {KEY} is not good"}
        server.answer(reply.of({"error": error}, 403))
        with pytest.raises(UnavailableError, match="check the API key") as told:
            await webhooks.list()
        server.answer(reply.of({"error": error}, 400))
        with pytest.raises(RejectedError) as refused:
            await webhooks.list()
        assert KEY not in f"{told.value} {refused.value} {refused.value.code} {refused.value.__cause__}"


async def test_nobody_there_is_said_as_such(serving: Callable[[], Any]) -> None:
    async with serving() as server:
        gone = server.base_url
    async with opened(gone) as webhooks:
        with pytest.raises(UnavailableError, match="no connection"):
            await webhooks.create(URI, events=EVENTS)


async def test_an_id_is_no_way_to_another_address() -> None:
    async with opened("http://127.0.0.1:9") as webhooks:
        for name in ("", "a/../b", "a?x=1", "a:ping", "é"):
            with pytest.raises(RejectedError) as told:
                await webhooks.delete(name)
            assert told.value.code == "not_found"


async def test_a_key_that_is_none_is_refused() -> None:
    for key in ("", " ", "ké", "a\nb"):
        with pytest.raises(ConfigError):
            Registrations(api_key=key, base_url="http://127.0.0.1:9")


async def test_what_is_gone_after_a_lost_answer_is_removed() -> None:
    async with at_the_emulator() as (webhooks, emulator):
        hook = (await webhooks.create(URI, events=EVENTS)).registration.id
        emulator.inject("webhooks.delete", "accept_then_reset")
        await webhooks.delete(hook)
        with pytest.raises(RejectedError) as told:
            await webhooks.delete(hook)
        assert told.value.code == "not_found"
