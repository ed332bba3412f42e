"""How the stories look at things: wait for what must come, read a message, find what was sent."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from orchestrator.emulator.slack.workspace import Message

Json = dict[str, Any]
T = TypeVar("T")

PATIENCE_SECONDS = 40.0
"""How long a story waits for what must come; far more than it takes, even on a busy machine."""
POLL_SECONDS = 0.03


async def until(probe: Callable[[], Awaitable[T | None]], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """What `probe` gives, once it is something; fails after `seconds`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not (found := await probe()):
        assert loop.time() < end, f"waited {seconds:g} s in vain for {what}"
        await asyncio.sleep(POLL_SECONDS)
    return found


async def stays(probe: Callable[[], Awaitable[Any]], seconds: float = 0.4) -> None:
    """`probe` stays true over a while: for what must not happen."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        assert await probe()
        await asyncio.sleep(POLL_SECONDS)


def metadata(body: Any) -> Json:
    """What we sent along with a create."""
    config = body.get("webhook_config", {}) if isinstance(body, dict) else {}
    found: Json = config.get("user_metadata", {})
    return found


def headline_of(message: Message) -> str:
    return str(message.blocks[0]["text"]["text"]) if message.blocks else ""


def text_of(value: Any) -> str:
    """Every text of a message's blocks, one a line."""
    if isinstance(value, list):
        return "\n".join(filter(None, map(text_of, value)))
    if not isinstance(value, dict):
        return ""
    own = value.get("text")
    inner = [text_of(v) for k, v in value.items() if k != "text" or not isinstance(own, str)]
    user = f"<@{value['user_id']}>" if "user_id" in value else ""
    return "\n".join(filter(None, [own if isinstance(own, str) else "", user, *inner]))


def buttons(message: Message) -> list[str]:
    """The action ids a person can press."""
    rows = [block for block in message.blocks if block["type"] == "actions"]
    return [element["action_id"] for row in rows for element in row["elements"]]
