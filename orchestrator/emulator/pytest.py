"""A pytest plugin: a stand-in Gemini for tests of one's own workflows, offline, on a virtual clock.

    pytest_plugins = ["orchestrator.emulator.pytest"]

    def test_a_refund(gemini_emulator, gemini_client):
        gemini_emulator.script([("refund_order", {"order_id": "A-17"})], "Refunded.")
        ...                                       # start something that calls Gemini
        gemini_emulator.advance(1)                # the model thinks, its webhook goes out
        assert gemini_emulator.asked[0]["input"] == "Refund A-17."

    def test_a_filtered_clip(gemini_emulator):
        gemini_emulator.script_job(match={"kind": "video"}, end="filtered", seconds=60)
        ...                                       # start something that wants a video
        gemini_emulator.advance(60)
        assert gemini_emulator.ledger()["doubled"] == []

`threaded.GeminiEmulator` says what else it can do. Options of the emulator come from the fixture
`gemini_settings` (override it) and from a marker, as in `@pytest.mark.gemini(think_seconds=60)`. Deliveries
carry the computer's time, which a receiver with a real clock believes; one that is handed
`gemini_emulator.now` as its clock wants the setting `real_timestamps=False`.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import pytest

# Nothing heavy is imported here: as an entry point this module is loaded into every test run.
if TYPE_CHECKING:
    from google import genai

    from orchestrator.emulator.threaded import GeminiEmulator

API_VERSION: Final = "v1beta"
TIMEOUT_MS: Final = 10_000


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "gemini(**options): options of the stand-in Gemini for this test")


@pytest.fixture
def gemini_settings() -> Mapping[str, Any]:
    """Options of `EmulatorSettings` for every test; override it in a `conftest.py`."""
    return {}


@pytest.fixture
def gemini_webhook_url() -> str | None:
    """Where webhooks go; None is the emulator's own mailbox. Override it to name your service."""
    return None


@pytest.fixture
def gemini_emulator(
    request: pytest.FixtureRequest, gemini_settings: Mapping[str, Any], gemini_webhook_url: str | None
) -> "Iterator[GeminiEmulator]":
    """A Gemini of this test's own: `base_url`, `key`, `webhook_secret`, and methods to steer it."""
    from orchestrator.emulator.threaded import GeminiEmulator

    marker = request.node.get_closest_marker("gemini")
    options = {**gemini_settings, **(marker.kwargs if marker else {})}
    with GeminiEmulator(webhook_url=gemini_webhook_url, **options) as emulator:
        yield emulator


@pytest.fixture
def gemini_client(gemini_emulator: "GeminiEmulator") -> "Iterator[genai.Client]":
    """The real client, pointed at the emulator, with its own retries off."""
    from google import genai
    from google.genai import types

    options = types.HttpOptions(
        base_url=gemini_emulator.base_url,
        api_version=API_VERSION,
        timeout=TIMEOUT_MS,
        retry_options=types.HttpRetryOptions(attempts=1),
    )
    client = genai.Client(api_key=gemini_emulator.key, http_options=options)
    yield client
    client.close()
