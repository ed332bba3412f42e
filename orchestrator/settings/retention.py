"""How long what has ended is kept. What a team decided and did never goes unless it says so; logs do."""

from datetime import timedelta
from typing import Final

from pydantic import Field

from orchestrator.settings.fields import Section

MOST_DAYS: Final = 36_500


class Retention(Section):
    """How long what has ended is kept; raw webhooks have `webhooks.keep_days`, the audit is for ever."""

    runs_days: int | None = Field(
        default=None,
        ge=1,
        le=MOST_DAYS,
        description="How long a run is kept after its end, with all that is its own, files too. Unset:"
        " for ever.",
    )
    files_days: int | None = Field(
        default=None,
        ge=1,
        le=MOST_DAYS,
        description="How long the files of a run's jobs are kept after its end. Unset: as long as the run.",
    )
    callbacks_days: int = Field(
        default=30,
        ge=1,
        le=MOST_DAYS,
        description="How long messages to callers are kept that are delivered, held or given up.",
    )
    digests_days: int = Field(
        default=30,
        ge=1,
        le=MOST_DAYS,
        description="How long is known where a digest stands in Slack, once nothing in it is open.",
    )
    occurrences_days: int = Field(
        default=90,
        ge=2,
        le=MOST_DAYS,
        description="How long is known what a trigger's occurrence came to; so long it starts no other run.",
    )

    @property
    def runs(self) -> timedelta | None:
        """None for ever."""
        return None if self.runs_days is None else timedelta(days=self.runs_days)

    @property
    def files(self) -> timedelta | None:
        """None as long as the run."""
        return None if self.files_days is None else timedelta(days=self.files_days)
