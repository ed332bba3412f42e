"""The whole room against the stand-in Gemini: start, be told, read, hand back, end; and lost answers."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.domain.exchange import Correlation, CreateRequest, FunctionResult
from orchestrator.domain.model import Recipe
from orchestrator.emulator.gemini.app import build
from orchestrator.emulator.gemini.settings import EmulatorSettings, StaticWebhook
from orchestrator.emulator.serving import running
from orchestrator.errors import RejectedError, UnavailableError, UncertainError
from orchestrator.gemini.gateway import GeminiGateway
from orchestrator.gemini.keyset import KeySet
from orchestrator.gemini.token import TokenRule
from orchestrator.gemini.webhook import DynamicVerifier, Signal, StaticVerifier, parse

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
RECIPE = Recipe("support", model="gemini-3.8-flash")
FUNCTIONS = tuple(
    {
        "type": "function",
        "name": name,
        "description": f"{name} of the shop.",
        "parameters": {
            "type": "object",
            "properties": {"order_id": {"type": "string"}},
            "required": ["order_id"],
        },
    }
    for name in ("lookup_order", "close_ticket")
)


def first(attempt: int = 1) -> CreateRequest:
    return CreateRequest(RECIPE, Correlation("run_1", 1, attempt), "Look at order A-17.", functions=FUNCTIONS)


async def told(hooks: Any, kind: str) -> Signal:
    """The first verified event of that kind; waits for it."""
    verifier = StaticVerifier([SECRET])
    async with asyncio.timeout(30):
        while True:
            for request in hooks.requests:
                verifier.verify(request.headers, request.body, now=datetime.now(UTC))
                if (signal := parse(request.body)).type == kind:
                    return signal
            await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_a_run_of_two_turns(serving: Callable[[], Any], reply: Any) -> None:
    async with serving() as hooks:
        hooks.answer(reply.of({}))
        webhook = StaticWebhook(f"{hooks.base_url}/hooks/gemini", SECRET)
        settings = EmulatorSettings(think_seconds=0.02, webhooks=[webhook])
        async with running(build(settings)) as base_url:
            gateway = GeminiGateway(api_key="made-up", base_url=base_url)
            started = await gateway.create(first())
            assert started.status == "in_progress"
            assert started.correlation == Correlation("run_1", 1, 1)

            signal = await told(hooks, "interaction.requires_action")
            assert signal.subject == started.interaction_id
            waiting = await gateway.fetch(started.interaction_id)
            assert [call.name for call in waiting.calls] == ["lookup_order", "close_ticket"]
            assert all(call.arguments and "order_id" in call.arguments for call in waiting.calls)

            results = tuple(FunctionResult(call.id, call.name, {"done": True}) for call in waiting.calls)
            again = await gateway.create(
                CreateRequest(RECIPE, Correlation("run_1", 2, 1), results, FUNCTIONS, waiting.interaction_id)
            )
            assert again.interaction_id != started.interaction_id
            assert (await told(hooks, "interaction.completed")).subject == again.interaction_id
            ended = await gateway.fetch(again.interaction_id)
            assert (ended.status, ended.previous_id) == ("completed", started.interaction_id)
            assert ended.calls == ()
            assert ended.output
            assert ended.usage["total_tokens"] > 0
            assert (await gateway.cancel(again.interaction_id)) == ended
            await gateway.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize(("form", "named"), [("v1a", "v1a"), ("jwt", "jwt")])
async def test_an_address_of_our_own_is_told_in_google_s_name(
    form: Any, named: str, serving: Callable[[], Any], reply: Any
) -> None:
    """Both forms of a dynamic delivery, as the stand-in signs them with its published keys."""
    audience, issuer = "https://hooks.example.com", "https://google.example"
    async with serving() as hooks:
        hooks.answer(reply.of({}))
        settings = EmulatorSettings(
            think_seconds=0.02, dynamic_signature=form, token_audience=audience, token_issuer=issuer
        )
        async with running(build(settings)) as base_url:
            uri = f"{hooks.base_url}/webhooks/gemini/t0ken"
            gateway = GeminiGateway(api_key="made-up", base_url=base_url, webhook_uris=[uri])
            started = await gateway.create(first())
            async with asyncio.timeout(30):
                while not hooks.requests:  # noqa: ASYNC110 - a real server is involved
                    await asyncio.sleep(0.01)
            request = hooks.requests[0]
            keys = KeySet(f"{base_url}/.well-known/jwks.json")
            verifier = DynamicVerifier(keys, tokens=TokenRule(audience, issuer))
            taken = await verifier.verify(request.headers, request.body, now=datetime.now(UTC))
            assert (request.target, taken.scheme) == ("/webhooks/gemini/t0ken", named)
            assert parse(request.body).subject == started.interaction_id
            await verifier.aclose()
            await gateway.aclose()


@pytest.mark.asyncio
async def test_cancel_and_what_is_not_there() -> None:
    app = build(EmulatorSettings(think_seconds=60))
    async with running(app) as base_url:
        gateway = GeminiGateway(api_key="made-up", base_url=base_url, retry_wait_seconds=0)
        started = await gateway.create(first())
        stopped = await gateway.cancel(started.interaction_id)
        assert stopped is not None
        assert stopped.status == "cancelled"
        assert await gateway.cancel("v1_unknown") is None
        with pytest.raises(RejectedError) as missing:
            await gateway.fetch("v1_unknown")
        assert missing.value.code == "not_found"
        await gateway.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "options", "expected", "created"),
    [
        ("status", {"status": 400, "shape": "list"}, RejectedError, 0),
        ("status", {"status": 429, "retry_after": "3"}, UnavailableError, 0),
        ("reset", {}, UncertainError, 0),
        ("hang", {"seconds": 600.0}, UncertainError, 0),
        ("accept_then_status", {"status": 503}, UncertainError, 1),
        ("accept_then_reset", {}, UncertainError, 1),
        ("html", {}, UncertainError, 1),
        ("null", {}, UncertainError, 1),
        ("broken_json", {}, UncertainError, 1),
    ],
)
async def test_a_create_is_sent_once_whatever_happens_to_it(
    kind: str, options: dict[str, Any], expected: type[Exception], created: int
) -> None:
    app = build(EmulatorSettings(think_seconds=60))
    emulator = app.state.emulator
    async with running(app) as base_url:
        seconds = 1 if kind == "hang" else 60
        gateway = GeminiGateway(api_key="made-up", base_url=base_url, timeout_seconds=seconds)
        await gateway.warm()
        emulator.inject("create", kind, **options)
        with pytest.raises(expected):
            await gateway.create(first())
        stats = emulator.stats()
        assert (stats["counts"]["create"], stats["created"]) == (1, created)
        await gateway.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["status", "reset", "html", "null", "broken_json"])
async def test_a_fetch_outlives_two_blips(kind: str) -> None:
    app = build(EmulatorSettings(think_seconds=60))
    async with running(app) as base_url:
        gateway = GeminiGateway(api_key="made-up", base_url=base_url, retry_wait_seconds=0)
        started = await gateway.create(first())
        app.state.emulator.inject("get", kind, times=2)
        assert (await gateway.fetch(started.interaction_id)).status == "in_progress"
        assert app.state.emulator.stats()["counts"]["get"] == 3
        await gateway.aclose()
