"""Are these requests for long jobs ones that Gemini would take? No state, no I/O in this file.

Sources: Gemini API, Veo (`predictLongRunning`) and Batch. These methods are read as JSON of protocol buffers:
a field goes by its camel or its snake case name.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from orchestrator.emulator.gemini.errors import ApiError, invalid
from orchestrator.emulator.gemini.films import SHAPES
from orchestrator.emulator.gemini.settings import EmulatorSettings
from orchestrator.emulator.gemini.validation import check_uri

Json = dict[str, Any]
PEOPLE: Final = ("allow_all", "allow_adult", "dont_allow")
CLIP_SECONDS: Final = (4, 6, 8)
LONG_ONLY: Final = ("1080p", "4k")  # resolutions that only clips of eight seconds have
SAMPLES_MAX: Final = 4
PARAMETERS: Final[dict[str, tuple[Any, ...]]] = {
    "aspectRatio": SHAPES,
    "resolution": ("720p", *LONG_ONLY),
    "personGeneration": PEOPLE,
    "durationSeconds": CLIP_SECONDS,
    "sampleCount": tuple(range(1, SAMPLES_MAX + 1)),
    "numberOfVideos": tuple(range(1, SAMPLES_MAX + 1)),
    "negativePrompt": (),
    "seed": (),
    "enhancePrompt": (),
}
INSTANCE: Final = ("prompt", "image", "lastFrame", "video", "referenceImages")
INLINE_BYTES_MAX: Final = 20 * 1024**2


@dataclass(frozen=True)
class JobRequest:
    """What every job's start says: who is told of its end, and what with."""

    uris: tuple[str, ...] = ()
    metadata: Json = field(default_factory=dict)


@dataclass(frozen=True)
class VideoRequest(JobRequest):
    """A `predictLongRunning` that is right in itself."""

    prompt: str = ""
    shape: str = SHAPES[0]
    seconds: float = CLIP_SECONDS[-1]
    samples: int = 1


@dataclass(frozen=True)
class BatchRequest(JobRequest):
    """A `batchGenerateContent` that is right in itself; exactly one of `file` and `requests` is set."""

    display_name: str = ""
    file: str | None = None
    requests: Sequence[Json] = ()


def check_model(name: str, method: str, settings: EmulatorSettings) -> None:
    """Does the model exist, and has it this method?

    Raises:
        ApiError: 404.
    """
    films = name.startswith("veo-")
    known = not settings.known_models or name in settings.known_models
    if not known or films != (method == "predictLongRunning"):
        raise ApiError(404, f"models/{name} is not found, or is not supported for {method}.")


def check_video(body: Any, settings: EmulatorSettings) -> VideoRequest:
    """Read a request for a video.

    Raises:
        ApiError: 400.
    """
    body = _object(body, "the request body")
    _only(body, ("instances", "parameters", "webhookConfig"), "")
    instances = body.get("instances")
    if not isinstance(instances, list) or len(instances) != 1:
        raise invalid("'instances' must hold exactly one instance.")
    instance = _object(instances[0], "instances[0]")
    _only(instance, INSTANCE, "instances[0].")
    prompt = instance.get("prompt", "")
    if not isinstance(prompt, str) or not (prompt.strip() or "image" in instance):
        raise invalid("'instances[0].prompt' must be a non-empty string.")
    given = _object(body.get("parameters", {}), "parameters")
    _check_parameters(given)
    samples = [given[name] for name in ("sampleCount", "numberOfVideos") if name in given]
    uris, metadata = webhook_config(body, settings)
    return VideoRequest(
        uris,
        metadata,
        prompt,
        given.get("aspectRatio", SHAPES[0]),
        float(given.get("durationSeconds", CLIP_SECONDS[-1])),
        int(samples[0]) if samples else 1,
    )


def check_batch(body: Any, size: int, settings: EmulatorSettings) -> BatchRequest:
    """Read a request for a batch of `size` bytes; an input file is not looked at.

    Raises:
        ApiError: 400.
    """
    batch = body.get("batch") if isinstance(body, dict) else None
    if not isinstance(batch, dict):
        raise invalid("'batch' must be set.")
    known = ("displayName", "inputConfig", "webhookConfig", "priority", "model", "name")
    _only({_camel(key): value for key, value in batch.items()}, known, "batch.")
    config = _either(batch, "inputConfig", {})
    config = config if isinstance(config, dict) else {}
    file, requests = _either(config, "fileName", None), config.get("requests")
    requests = requests.get("requests") if isinstance(requests, dict) else None
    right = isinstance(file, str) != (isinstance(requests, list) and bool(requests))
    if not right or any(not isinstance(request, dict) for request in requests or ()):
        raise invalid("inputConfig needs 'fileName' or 'requests' with at least one request.")
    if requests and size > INLINE_BYTES_MAX:
        raise invalid("Inline requests must stay below 20 MB; use an input file.")
    uris, metadata = webhook_config(batch, settings)
    name = str(_either(batch, "displayName", ""))
    return BatchRequest(uris, metadata, name, file, tuple(requests or ()))


def read_lines(content: bytes) -> list[Any]:
    """The requests of an input file.

    Raises:
        ApiError: 400 for what is not one JSON object a line.
    """
    try:
        lines = [json.loads(line) for line in content.splitlines() if line.strip()]
    except ValueError as error:
        raise invalid(f"The input file is not one JSON object a line: {error}") from error
    if not lines:
        raise invalid("The input file has no request.")
    return lines


def webhook_config(holder: Mapping[str, Any], settings: EmulatorSettings) -> tuple[tuple[str, ...], Json]:
    """Addresses and metadata of a `webhookConfig`.

    Raises:
        ApiError: 400.
    """
    config = _either(holder, "webhookConfig", {})
    if not isinstance(config, dict) or not isinstance(config.get("uris", []), list):
        raise invalid("Invalid value for 'webhookConfig'.")
    _only({_camel(key): value for key, value in config.items()}, ("uris", "userMetadata"), "webhookConfig.")
    hosts = settings.plain_http_hosts
    uris = tuple(check_uri(uri, hosts, "webhookConfig.uris") for uri in config.get("uris", ()))
    metadata = _either(config, "userMetadata", {})
    if not isinstance(metadata, dict):
        raise invalid("Invalid value for 'webhookConfig.user_metadata'.")
    return uris, metadata


def _check_parameters(given: Json) -> None:
    for name, value in given.items():
        if name not in PARAMETERS:
            raise invalid(f"`{name}` isn't supported by this model. Please remove it.")
        allowed = PARAMETERS[name]
        plain = int(value) if isinstance(value, str) and value.isdecimal() else value
        if allowed and (isinstance(value, bool) or plain not in allowed):
            raise invalid(f"The value of `{name}` must be one of {', '.join(map(str, allowed))}.")
    seconds = int(given.get("durationSeconds", CLIP_SECONDS[-1]))
    if given.get("resolution") in LONG_ONLY and seconds != CLIP_SECONDS[-1]:
        raise invalid(f"`resolution` {given['resolution']} needs `durationSeconds` {CLIP_SECONDS[-1]}.")


def _object(value: Any, where: str) -> Json:
    if not isinstance(value, dict):
        raise invalid(f"Invalid value at '{where}': expected an object.")
    return value


def _only(given: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for name in given:
        if name not in known:
            raise invalid(f'Invalid JSON payload received. Unknown name "{where}{name}": Cannot find field.')


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _either(holder: Mapping[str, Any], name: str, default: Any) -> Any:
    found = [value for key, value in holder.items() if _camel(key) == name]
    return found[0] if found else default
