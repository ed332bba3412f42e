"""Videos out of interactions: what `response_format` may ask for, and the script that answers it.

Source: Gemini API, Interactions, "Video": a newer video model, `response_format` of type `video`, delivery by
URI or inline. The URI is in a create's own answer; a later GET has the bytes. No state, no I/O here.
"""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.emulator.gemini.errors import invalid, unknown_parameter
from orchestrator.emulator.gemini.settings import EmulatorSettings
from orchestrator.emulator.gemini.story import Story, Turn

Json = dict[str, Any]
SHAPES: Final = ("16:9", "9:16")
OMNI_SECONDS: Final = (3.0, 10.0)
VIDEO_FORMAT: Final[dict[str, tuple[str, ...]]] = {
    "type": ("video",),
    "aspect_ratio": SHAPES,
    "delivery": ("inline", "uri"),
    "duration": (),
    "resolution": ("360p", "720p", "1080p", "4k"),
}


class Film:
    """A video model: every turn is one film."""

    name = "film"

    def has(self, number: int) -> bool:
        """It never runs out."""
        return True

    def turn(self, number: int, story: Story) -> Turn:
        """One film of what the user said."""
        return Turn(video={})


def wants_film(body: Mapping[str, Any]) -> Json | None:
    """The request's `response_format` of type video, if it has one."""
    given = body.get("response_format", [])
    formats = given if isinstance(given, list) else [given]
    return next((f for f in formats if isinstance(f, dict) and f.get("type") == "video"), None)


def check_film(body: Mapping[str, Any], settings: EmulatorSettings) -> None:
    """Is the video that an interaction asks for, if it asks for one, to be had?

    Raises:
        ApiError: 400.
    """
    wanted = wants_film(body)
    if wanted is None:
        return
    model = str(body.get("model", "")).removeprefix("models/")
    if not model.startswith(tuple(settings.video_models)):
        raise invalid(f"response_format of type 'video' is not supported by '{model or body.get('agent')}'.")
    for name, value in wanted.items():
        if name not in VIDEO_FORMAT:
            raise unknown_parameter(name, "response_format")
        if VIDEO_FORMAT[name] and value not in VIDEO_FORMAT[name]:
            raise invalid(f"response_format.{name} must be one of {', '.join(VIDEO_FORMAT[name])}.")
    low, high = OMNI_SECONDS
    if not low <= omni_seconds(wanted) <= high:
        raise invalid(f"response_format.duration must be {low:g}s to {high:g}s.")


def omni_seconds(wanted: Mapping[str, Any]) -> float:
    """The length that a `response_format` of type video asks for, such as `5s`; 0 for what is none."""
    try:
        return float(str(wanted.get("duration", "8s")).removesuffix("s"))
    except ValueError:
        return 0.0
