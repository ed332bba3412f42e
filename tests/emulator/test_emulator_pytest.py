"""The pytest plugin, used as a team would: a workflow of their own, offline, the clock in the test's hand."""

from typing import Any

import pytest
from google import genai
from standardwebhooks import Webhook

from orchestrator.emulator.threaded import GeminiEmulator

pytest_plugins = ["orchestrator.emulator.pytest", "pytester"]

REFUND: Any = {
    "type": "function",
    "name": "refund_order",
    "parameters": {"type": "object", "properties": {"order_id": {"type": "string"}}},
}


def ask(client: genai.Client, text: Any, **options: Any) -> Any:
    return client.interactions.create(
        model="gemini-3.8-flash", background=True, input=text, tools=[REFUND], **options
    )


def test_a_workflow_from_trigger_to_end(gemini_emulator: GeminiEmulator, gemini_client: genai.Client) -> None:
    gemini_emulator.script([("refund_order", {"order_id": "A-17"})], "Refunded.")
    first = ask(gemini_client, "Refund A-17.")
    gemini_emulator.advance(1)

    (told,) = gemini_emulator.received
    Webhook(gemini_emulator.webhook_secret).verify(told.body, told.headers)
    assert told.event["data"]["id"] == first.id
    (call,) = [
        s for s in gemini_client.interactions.get(id=first.id).steps or [] if s.type == "function_call"
    ]
    assert (call.name, call.arguments) == ("refund_order", {"order_id": "A-17"})

    result: Any = {"type": "function_result", "call_id": call.id, "name": call.name, "result": "done"}
    second = ask(gemini_client, [result], previous_interaction_id=first.id)
    gemini_emulator.advance(1)
    assert gemini_client.interactions.get(id=second.id).output_text == "Refunded."
    assert [body["input"] for body in gemini_emulator.asked] == ["Refund A-17.", [result]]
    assert [message.event["type"] for message in gemini_emulator.received] == [
        "interaction.requires_action",
        "interaction.completed",
    ]


@pytest.mark.parametrize("gemini_settings", [{"think_seconds": 60, "metadata": "top"}])
@pytest.mark.asyncio
async def test_faults_retries_and_an_event_loop(
    gemini_emulator: GeminiEmulator, gemini_client: genai.Client
) -> None:
    gemini_emulator.script({"status": "failed", "errors": [{"code": "safety", "message": "No."}]})
    gemini_emulator.inject("deliver", "duplicate")
    gemini_emulator.answer_webhooks(503, 503)
    started = gemini_emulator.now()
    made = ask(gemini_client, "x", webhook_config={"user_metadata": {"n": 1}})
    await gemini_emulator.advance_async(59)
    assert gemini_emulator.received == []
    await gemini_emulator.advance_async(10)
    assert (gemini_emulator.now() - started).total_seconds() == 69
    assert len({message.headers["webhook-id"] for message in gemini_emulator.received}) == 1
    assert gemini_emulator.received[-1].event["user_metadata"] == {"n": 1}
    assert gemini_emulator.stats()["struck"] == {"deliver:duplicate": 1}
    assert gemini_emulator.deliver(interaction=made.id, message_id="new") == [200]
    with pytest.raises(KeyError):
        gemini_emulator.move("unknown", "failed")
    with pytest.raises(ValueError, match="no fault of"):
        gemini_emulator.inject("get", "early")
    gemini_emulator.reset()
    assert (gemini_emulator.received, gemini_emulator.asked) == ([], [])


def test_the_other_key_is_another_project(
    gemini_emulator: GeminiEmulator, gemini_client: genai.Client
) -> None:
    assert [hook.name for hook in gemini_client.webhooks.list().webhooks or []] == ["test"]
    made = ask(gemini_client, "Hello.")
    gemini_emulator.move(made.id, "incomplete", text="Half an")
    assert gemini_client.interactions.get(id=made.id).status == "incomplete"
    assert gemini_emulator.emulator.webhooks.of(gemini_emulator.other_key) == []


def test_a_bad_option_is_said_at_the_start() -> None:
    with pytest.raises(TypeError, match="dream"), GeminiEmulator(dream=True):
        pass


def test_a_team_that_names_the_plugin(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('pytest_plugins = ["orchestrator.emulator.pytest"]')
    pytester.makepyfile("""
        import pytest

        @pytest.fixture
        def gemini_settings():
            return {"seed": 5}

        @pytest.mark.gemini(metadata="none")
        def test_it(gemini_emulator):
            settings = gemini_emulator.emulator.settings
            assert (settings.seed, settings.metadata) == (5, "none")
        """)
    scope = "asyncio_default_fixture_loop_scope=function"  # pytest-asyncio warns without it
    run = pytester.runpytest_inprocess("-q", "--strict-markers", "-p", "no:cacheprovider", "-o", scope)
    run.assert_outcomes(passed=1)
