"""Everything about the stand-in that a test or a demo may choose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from orchestrator.emulator.gemini.clock import Clock

SUBSCRIBABLE: Final = (
    "batch.succeeded",
    "batch.expired",
    "batch.failed",
    "interaction.requires_action",
    "interaction.completed",
    "interaction.failed",
    "video.generated",
)
DAY_SECONDS: Final = 86_400.0


@dataclass(frozen=True)
class StaticWebhook:
    """A webhook that is registered from the start, in every key's project.

    Args:
        uri: Where events go.
        secret: `whsec_` and base64, known to the receiver beforehand.
        name: Our label.
        subscribed_events: Some of the seven.
    """

    uri: str
    secret: str
    name: str = "static"
    subscribed_events: tuple[str, ...] = SUBSCRIBABLE


@dataclass(frozen=True)
class EmulatorSettings:
    """How the stand-in behaves.

    Args:
        scenarios: A YAML file, or its contents as a mapping; None leaves the two built-in scenarios.
        think_seconds: From a create to the end of its turn, where a scenario says nothing.
        webhooks: Registered from the start.
        accepted_keys: API keys, one project each; empty takes any key.
        metadata: Where events carry `user_metadata`; Gemini's documents do not say.
        retention_seconds: Interactions older than this are gone.
        retry_base_seconds: Wait before a delivery's second attempt; doubles from there.
        retry_cap_seconds: Longest wait between attempts.
        retry_window_seconds: Attempts end this long after the first one.
        disable_after_seconds: A webhook with nothing but failures for so long is switched off.
        delivery_timeout_seconds: How long a receiver may take, in real seconds.
        seed: Makes ids, secrets and invented values repeatable.
        clock: A `VirtualClock` for tests; None is the real one.
        plain_http_hosts: Hosts besides loopback that may be reached without TLS, such as a compose service.
        known_models: Models and agents that exist; empty takes any name.
        accept_labels: Take `labels` on create, as the enterprise platform does.
        refuse_mixed_tools: Answer 400 to functions beside built-in tools, as some models do.
    """

    scenarios: Path | str | Mapping[str, Any] | None = None
    think_seconds: float = 0.2
    webhooks: Sequence[StaticWebhook] = ()
    accepted_keys: Sequence[str] = ()
    metadata: Literal["data", "top", "none"] = "data"
    retention_seconds: float = 55 * DAY_SECONDS
    retry_base_seconds: float = 5.0
    retry_cap_seconds: float = 3600.0
    retry_window_seconds: float = DAY_SECONDS
    disable_after_seconds: float = DAY_SECONDS
    delivery_timeout_seconds: float = 10.0
    seed: int | None = None
    clock: Clock | None = None
    plain_http_hosts: Sequence[str] = ()
    known_models: Sequence[str] = ()
    accept_labels: bool = False
    refuse_mixed_tools: bool = False
