"""Where the outside hears of a run: an address of the caller's, and which events go there."""

from enum import StrEnum
from typing import Final

from orchestrator.domain.values import Value


class News(StrEnum):
    """What is told."""

    RUN_WAITING = "run.waiting"
    RUN_ATTENTION = "run.attention"
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"
    RUN_CANCELLED = "run.cancelled"
    APPROVAL_REQUESTED = "approval.requested"
    APPROVAL_DECIDED = "approval.decided"
    JOB_FINISHED = "job.finished"


ALL_NEWS: Final = tuple(News)
TEST: Final = "callback.test"
"""The event of no run, by which people try an address."""


class Callback(Value):
    """One address and what it is told. `own` marks the one a run was started with; the others are of
    its workflow."""

    url: str
    events: tuple[News, ...] = ALL_NEWS
    own: bool = False


class CallbackState(StrEnum):
    """Where one message stands."""

    WAITING = "waiting"  # to be sent, or to be tried again
    DELIVERED = "delivered"
    HELD = "held"  # its address is disabled
    FAILED = "failed"  # given up; sent again only by a person


class AddressState(StrEnum):
    """Whether an address is sent anything."""

    ACTIVE = "active"
    DISABLED = "disabled"  # it failed for too long, or said that it is gone; a person enables it


class Receipt(Value):
    """What an address answered: its status, and the seconds it asks us to wait."""

    status: int
    retry_after: float | None = None

    @property
    def taken(self) -> bool:
        return 200 <= self.status < 300
