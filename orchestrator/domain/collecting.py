"""Questions nobody is there for: collected, and shown together at a set hour.

asked ──► collected ──the hour──► a message over all of them, each in its thread ──► its time runs
              │                       └─ not taken there ──► each alone ──► its time runs
              └─ decided by another door before: shown nowhere

Until it is shown, the time of a question does not run: it is open for as long as an answer is of use, and
nobody is reminded. A question Gemini would have forgotten by that hour, or whose run would have ended, is
shown at once.
"""

from datetime import UTC, datetime
from typing import Final

from orchestrator.domain.calendar import LONGEST
from orchestrator.domain.consent import Approval
from orchestrator.domain.values import replace

_FORM: Final = "%Y-%m-%dT%H:%MZ"


def message(channel: str, due: datetime) -> str:
    """The name of the digest message of a channel at a moment: there is one of each."""
    return f"{channel}@{due.astimezone(UTC):{_FORM}}"


def parse(name: str) -> tuple[str, datetime]:
    """Channel, and the moment it is due."""
    channel, at = name.rsplit("@", 1)
    return channel, datetime.strptime(at, _FORM).replace(tzinfo=UTC)


def collected(approval: Approval, latest: datetime | None, deadline: datetime, now: datetime) -> Approval:
    """The question as it waits for its digest message; as it is where it is shown at once.

    Args:
        latest: After that no answer is of use; None where nothing says so.
        deadline: When the run ends, whatever it waits for.
    """
    terms = approval.terms
    due = terms.collect.following(now) if terms.collect is not None and terms.channel else None
    if due is None or due >= deadline or (latest is not None and due >= latest):
        return approval
    return replace(approval, collected=message(terms.channel, due), expires_at=latest or now + LONGEST)


def waits(approval: Approval) -> bool:
    """Whether it is still to be shown in a digest message, so that its time does not run yet."""
    return approval.open and bool(approval.collected) and approval.since is None
