"""What people are shown of finished films before they choose among them."""

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from orchestrator.settings.fields import Section

AUTO: Final = "auto"
OFF: Final = "off"


def program(text: str) -> str:
    """`auto`, `off`, or where a program is."""
    if text not in (AUTO, OFF) and not text.startswith("/"):
        raise ValueError("must be auto, off, or the absolute path of ffmpeg")
    return text


class Media(Section):
    """Pictures of films under a question in Slack. Pictures themselves are shown as they are, up to 5 MB."""

    ffmpeg: Annotated[str, AfterValidator(program)] = Field(
        default=AUTO,
        description="What draws pictures of films: `auto` takes ffmpeg where it is installed, `off` none,"
        " anything else is its path.",
    )
    frames: int = Field(
        default=6,
        ge=1,
        le=16,
        description="Of each film: 1 shows its first frame, more a sheet with one of each second.",
    )
    seconds: float = Field(default=20, ge=1, le=120, description="How long one picture may take.")
