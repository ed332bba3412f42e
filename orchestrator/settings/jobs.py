"""Long jobs: which models make them, how many at a time, and how long a lost start is looked for."""

from typing import Literal

from pydantic import Field

from orchestrator.settings.fields import Section


class Jobs(Section):
    """Films and batches, which take Gemini minutes to days."""

    video_model: str = Field(
        default="veo-3.1-generate-preview",
        min_length=1,
        max_length=128,
        pattern=r"^[a-z0-9][a-z0-9.-]*$",
        description="Which model the tool `generate_video` asks.",
    )
    batch_model: str = Field(
        default="gemini-3.8-flash",
        min_length=1,
        max_length=128,
        pattern=r"^[a-z0-9][a-z0-9.-]*$",
        description="Which model the tool `run_batch` asks.",
    )
    at_once: int = Field(default=10, ge=1, le=100, description="Jobs of one call under way at Gemini.")
    grace_seconds: float = Field(
        default=900,
        ge=60,
        le=86_400,
        description="How long a job whose start had no answer may still show itself. Then a batch is sent"
        " again; of a film `lost_film` says.",
    )
    lost_film: Literal["fail", "retry"] = Field(
        default="fail",
        description="A film whose start had no answer, and that no event named in that time, may have been"
        " made and billed, and cannot be looked for: `fail` leaves it to a person, who may resubmit it;"
        " `retry` sends it again, and may pay for it twice.",
    )
