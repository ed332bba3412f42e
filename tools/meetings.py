"""Meeting rooms: nested arguments, enums, dates, and a rule that looks inside a list.

Booking is idempotent, because it remembers the call's id: the same call can safely be tried again.
Inviting somebody from outside needs a person's consent, everything else is booked at once.
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field

from orchestrator import ToolContext, ToolError, tool


class Room(StrEnum):
    """The rooms of the house."""

    GARDEN = "garden"
    ATTIC = "attic"
    STUDIO = "studio"


class Attendee(BaseModel):
    """Who is invited."""

    email: Annotated[str, Field(description="Where the invitation goes.", pattern=r"^[^@\s]+@[^@\s]+$")]
    optional: bool = False


class Meeting(BaseModel):
    """A booked room; instants are in UTC."""

    meeting_id: str
    title: str
    room: Room
    start: datetime
    end: datetime
    attendees: list[Attendee]


MEETINGS: dict[str, Meeting] = {}


def _clash(room: Room, start: datetime, end: datetime) -> Meeting | None:
    booked = (m for m in MEETINGS.values() if m.room is room)
    return next((m for m in booked if m.start < end and start < m.end), None)


@tool(approval="allow", idempotent=True)
def free_rooms(start: AwareDatetime, minutes: Annotated[int, Field(ge=15, le=480)] = 60) -> list[Room]:
    """Which rooms are free at that time.

    Args:
        start: When the meeting begins, with its offset from UTC.
        minutes: How long it takes.
    """
    begin = start.astimezone(UTC)
    return [room for room in Room if _clash(room, begin, begin + timedelta(minutes=minutes)) is None]


@tool(
    approval="ask",
    when="args.attendees.exists(a, !a.email.endsWith('@example.com'))",
    expires_after=timedelta(hours=4),
    idempotent=True,
    retry="transient",
)
async def book_meeting(
    title: Annotated[str, Field(min_length=1, max_length=120)],
    room: Room,
    start: AwareDatetime,
    attendees: list[Attendee],
    ctx: ToolContext,
    minutes: Annotated[int, Field(ge=15, le=480)] = 60,
) -> Meeting:
    """Book a room and invite people to it.

    Args:
        title: What the meeting is about.
        room: Where it takes place.
        start: When it begins, with its offset from UTC.
        attendees: Who is invited.
        minutes: How long it takes.
    """
    if ctx.call_id in MEETINGS:
        return MEETINGS[ctx.call_id]
    begin = start.astimezone(UTC)
    end = begin + timedelta(minutes=minutes)
    if taken := _clash(room, begin, end):
        raise ToolError(f"The {room} is taken until {taken.end.isoformat()}.")
    meeting = Meeting(
        meeting_id=ctx.call_id, title=title, room=room, start=begin, end=end, attendees=attendees
    )
    MEETINGS[ctx.call_id] = meeting
    return meeting
