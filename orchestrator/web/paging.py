"""Cursors of the lists: where a page ended, opaque to the caller, and ids before they meet the database."""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, TypeVar

import structlog
from litestar import Request
from litestar.params import QueryParameter

from orchestrator.errors import InvalidError, NotFoundError, UnreadableError
from orchestrator.store.views import Row

T = TypeVar("T")
log = structlog.get_logger(__name__)
Position = tuple[datetime, str]
Limit = Annotated[int, QueryParameter(ge=1, le=100, description="Most items on a page.")]
Cursor = Annotated[str | None, QueryParameter(max_length=200, description="`next` of the page before.")]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
OWN: Final = re.compile(r"[a-z]{1,8}_[A-Za-z0-9]{1,64}", re.ASCII)
"""Ids we made."""
_TEXT: Final = re.compile(r"([0-9a-f]{8})\.([0-9]{1,16})\.([!-~]{1,300})", re.ASCII)
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class Pages:
    """The cursors of one list, as it is asked for: of another list, or of other filters, they are none.

    Args:
        path: Of the list.
        filters: Their names and values, in any order.
    """

    def __init__(self, path: str, filters: Iterable[tuple[str, str]] = ()) -> None:
        asked = ascii((path, sorted(filters)))
        self._mark = hashlib.sha256(asked.encode()).hexdigest()[:8]

    def next(self, position: Position | None) -> str | None:
        """A position (time, id) as the caller hands it back; None after the last page."""
        if position is None:
            return None
        micros = (position[0] - _EPOCH) // timedelta(microseconds=1)
        plain = f"{self._mark}.{micros}.{position[1]}"
        return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")

    def begin(self, cursor: str | None, ids: re.Pattern[str] = OWN) -> Position | None:
        """Back again. Raises `InvalidError` for what is no cursor of ours to this list with ids like that."""
        if cursor is None:
            return None
        try:
            plain = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            match = _TEXT.fullmatch(plain.decode("ascii"))
            if match is not None and match[1] == self._mark and ids.fullmatch(match[3]):
                return _EPOCH + timedelta(microseconds=int(match[2])), match[3]
        except (binascii.Error, ValueError):
            pass  # said below, the same for every form of nonsense
        told = "must be `next` of an earlier page of this list, with the same filters"
        raise InvalidError("this is no cursor", [("cursor", told)])


async def pages(request: Request[Any, Any, Any]) -> Pages:
    """Those of the list that is asked for."""
    chosen = [pair for pair in request.query_params.multi_items() if pair[0] not in ("cursor", "limit")]
    return Pages(request.scope["path"].rstrip("/"), chosen)


def shown_each(show: Callable[[Row], T], rows: Sequence[Row]) -> list[T]:
    """The items of a page. One that cannot be read is left out, and told in the log."""
    items: list[T] = []
    for row in rows:
        try:
            items.append(show(row))
        except UnreadableError as e:
            log.error("left_out_of_list", why=str(e))
    return items


def own_id(text: str, what: str) -> str:
    """An id from a path, if it could be one of ours; else it is simply not found."""
    if not _ID.fullmatch(text):
        raise NotFoundError(f"there is no {what} of that id")
    return text
