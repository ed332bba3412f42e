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
RETENTION_SECONDS: Final = {"paid": 55 * DAY_SECONDS, "free": DAY_SECONDS}  # what each tier keeps by default


@dataclass(frozen=True)
class StaticWebhook:
    """A webhook that is registered from the start.

    Args:
        uri: Where events go.
        secret: `whsec_` and base64, known to the receiver beforehand.
        name: Our label.
        subscribed_events: Some of the seven.
        project: The one it belongs to (a project without a name is called as its key); None is every one.
    """

    uri: str
    secret: str
    name: str = "static"
    subscribed_events: tuple[str, ...] = SUBSCRIBABLE
    project: str | None = None


@dataclass(frozen=True)
class EmulatorSettings:
    """How the stand-in behaves.

    Args:
        scenarios: A YAML file, or its contents as a mapping; None leaves the two built-in scenarios.
        think_seconds: From a create to the end of its turn, where a scenario says nothing.
        webhooks: Registered from the start.
        accepted_keys: API keys, one project each, or a mapping of keys to the names of their projects;
            empty takes any key.
        metadata: Where events carry `user_metadata`: in `data`, at the top, or nowhere; Gemini's documents
            do not say.
        dynamic_signature: Of deliveries to a request's own addresses: `v1a` as really seen, or the RS256
            token (`jwt`) that the guide describes.
        token_audience: The token's `aud`; the guide has no way to choose it.
        token_issuer: The token's `iss`.
        real_timestamps: Sign deliveries with the computer's time even on a virtual clock, for receivers
            that know no other.
        retention_seconds: Interactions older than this are gone; `RETENTION_SECONDS` has both tiers' figures.
        retry_base_seconds: Wait before a delivery's second attempt; doubles from there.
        retry_cap_seconds: Longest wait between attempts.
        retry_window_seconds: Attempts end this long after the first one.
        disable_after_seconds: A webhook with nothing but failures for so long is switched off.
        disable_after_failures: The same after so many failed attempts in a row; None leaves it to the time.
        delivery_timeout_seconds: How long a receiver may take, in real seconds.
        seed: Makes ids, secrets and invented values repeatable.
        clock: A `VirtualClock` for tests; None is the real one.
        plain_http_hosts: Hosts besides loopback that may be reached without TLS, such as a compose service.
        known_models: Models and agents that exist; empty takes any name.
        accept_labels: Take `labels` on create, as the enterprise platform does.
        refuse_mixed_tools: Answer 400 to functions beside built-in tools, as some models do.
        environment_seconds: An agent's environment is gone so long after it was last used.
        batch_seconds: From a batch's create to its end.
        batch_pending_seconds: Of those, in `BATCH_STATE_PENDING`.
        batch_expiry_seconds: A batch that is not done by then expires.
        batch_event_id: Of a batch in events: `batch_{id}` as in the guide, bare, or the resource's name.
        batch_cancelled_event: Send `batch.cancelled`, which the guide has and nobody can subscribe to; those
            who hear of failures hear it.
        video_seconds: From a video's start to its end, over either way.
        video_bytes: Smallest size of a video's file.
        video_models: Beginnings of the models that make videos in interactions.
        video_get: Where a GET of an interaction has its video: `inline`, as documented, or by `uri`.
        video_event_id: The id in `video.generated`: the operation's whole `name`, or its last part (`bare`).
        video_event_uri: The field with the video's address in `video.generated`; a notebook of Google's has
            the other one.
        video_events: `generated` sends one for a video that is there, `ended` for failures, too; no document
            tells.
        file_seconds: A file is gone so long after it was made.
        jobs: How jobs to come go, each a mapping of the fields of `plans.Plan`.
        address: The emulator's own, in the URIs it gives out; None is the one it was asked at.
        faults: Standing faults, each a mapping of the fields of `faults.Fault`; see `faults.storm`.
        fault_seed: Makes faults with a probability repeatable.
    """

    scenarios: Path | str | Mapping[str, Any] | None = None
    think_seconds: float = 0.2
    webhooks: Sequence[StaticWebhook] = ()
    accepted_keys: Sequence[str] | Mapping[str, str] = ()
    metadata: Literal["data", "top", "none"] = "data"
    dynamic_signature: Literal["v1a", "jwt"] = "v1a"
    token_audience: str = "gemini-webhooks"  # noqa: S105 - no secret
    token_issuer: str = "https://generativelanguage.googleapis.com"  # noqa: S105 - no secret
    real_timestamps: bool = False
    retention_seconds: float = RETENTION_SECONDS["paid"]
    retry_base_seconds: float = 5.0
    retry_cap_seconds: float = 3600.0
    retry_window_seconds: float = DAY_SECONDS
    disable_after_seconds: float = DAY_SECONDS
    disable_after_failures: int | None = None
    delivery_timeout_seconds: float = 10.0
    seed: int | None = None
    clock: Clock | None = None
    plain_http_hosts: Sequence[str] = ()
    known_models: Sequence[str] = ()
    accept_labels: bool = False
    refuse_mixed_tools: bool = False
    environment_seconds: float = 7 * DAY_SECONDS
    batch_seconds: float = 2.0
    batch_pending_seconds: float = 0.5
    batch_expiry_seconds: float = 2 * DAY_SECONDS
    batch_event_id: Literal["guide", "bare", "resource"] = "guide"
    batch_cancelled_event: bool = False
    video_seconds: float = 1.0
    video_bytes: int = 0
    video_models: Sequence[str] = ("gemini-omni",)
    video_get: Literal["inline", "uri"] = "inline"
    video_event_id: Literal["name", "bare"] = "name"
    video_event_uri: Literal["output_file_uri", "video_uri"] = "output_file_uri"
    video_events: Literal["generated", "ended"] = "generated"
    file_seconds: float = 2 * DAY_SECONDS
    jobs: Sequence[Mapping[str, Any]] = ()
    address: str | None = None
    faults: Sequence[Mapping[str, Any]] = ()
    fault_seed: int = 0
