"""Following the questions to people: what waits for an answer, as it comes and goes."""

import json
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from orchestrator.cli import cards, client, consoles
from orchestrator.cli.watching import MOST_TOLD, Json, Patience, say
from orchestrator.errors import UnavailableError
from orchestrator.slack.text import line

if TYPE_CHECKING:
    import httpx

MOST_QUESTIONS: Final = 1_000
NEWS: Final = 5
"""Changes shown below the table."""


class Questions:
    """What waits for an answer, as far as it is known; tells what is new about it."""

    def __init__(self, service: "httpx.Client") -> None:
        self._service = service
        self.open: dict[str, Json] = {}

    def look(self) -> list[tuple[str, Json]]:
        """(`asked`, `changed` or `closed`; the approval) since the look before, oldest question first.

        Raises:
            UnavailableError: The service does not answer.
        """
        found, _ = client.listed(self._service, "/v1/approvals", {"status": "pending"}, MOST_QUESTIONS)
        now = {a["id"]: a for a in reversed(found)}
        news = [("closed", a) for key in self.open if key not in now and (a := self._ended(key))]
        news += [
            ("changed" if key in self.open else "asked", a) for key, a in now.items() if self._news(key, a)
        ]
        self.open = now
        return news

    def _news(self, key: str, told: Json) -> bool:
        known = self.open.get(key)
        return known is None or any(
            told[k] != known[k]
            for k in ("votes", "questions", "expires_at", "escalated", "digest", "channel", "trouble")
        )

    def _ended(self, key: str) -> Json | None:
        """What became of one that waits no more; None where it only fell off the end of the list."""
        told = client.one(self._service, f"/v1/approvals/{client.part(key)}", "id", "status")
        return None if told["status"] == "pending" else told


def follow(service: "httpx.Client", *, every: float, once: bool, as_json: bool) -> None:
    """Tell what waits for an answer as it comes and goes, until Ctrl-C; with `once`, only now."""
    asked = Questions(service)
    if once and not as_json:
        asked.look()
        _table(list(asked.open.values()))
    elif once:
        _tell(asked.look(), as_json=True)
    else:
        wall = _Wall() if sys.stdout.isatty() and not as_json else None
        with suppress(KeyboardInterrupt), wall.live if wall else nullcontext():
            for news in _looks(asked, every):
                if wall:
                    wall.show(list(asked.open.values()), news)
                else:
                    _tell(news, as_json=as_json)


def _looks(asked: Questions, every: float) -> Iterator[list[tuple[str, Json]]]:
    """The news of one look after the other. Raises `UnavailableError` when the service stays away."""
    patience = Patience()
    while True:
        try:
            news = asked.look()
        except UnavailableError as e:
            patience.wait(e)
            continue
        patience.answered()
        yield news
        time.sleep(every)


def _table(waiting: Sequence[Json]) -> None:
    now = datetime.now(UTC)
    if waiting:
        consoles.show_table(cards.COLUMNS, [cards.row(a, now=now) for a in waiting], whole=1, more=False)
    else:
        say("nothing waits for an answer")


def _tell(news: Iterable[tuple[str, Json]], *, as_json: bool) -> None:
    for change, told in news:
        line = json.dumps({"change": change, "approval": told}) if as_json else _changed(change, told)
        say(line)


def _changed(change: str, told: Mapping[str, Any]) -> str:
    now = datetime.now(UTC)
    what = f"{told['id']} {cards.about(told)} ({told['workflow']})"
    expires = f", expires in {cards.span(told['expires_at'], now)}"
    words = (
        f"is asked by {cards.who(told['requester'])}{expires}" if change == "asked" else cards.ending(told)
    )
    return f"{now:%H:%M:%S}  {consoles.plain(line(f'{what} {words}', MOST_TOLD))}"


class _Wall:
    """For people at a terminal: a table that is always true, and the last changes below it."""

    def __init__(self) -> None:
        self.live = Live(console=Console(), auto_refresh=False)
        self._last: deque[str] = deque(maxlen=NEWS)
        self._first = True

    def show(self, waiting: Sequence[Json], news: Iterable[tuple[str, Json]]) -> None:
        if not self._first:  # what waits at the start is in the table, and no news
            self._last.extend(_changed(change, told) for change, told in news)
        self._first = False
        now = datetime.now(UTC)
        rows = [cards.row(told, now=now) for told in waiting]
        head = consoles.table(cards.COLUMNS, rows, whole=1) if rows else Text("nothing waits for an answer")
        foot = [Text(words, style="dim", overflow="fold") for words in self._last]
        self.live.update(Group(head, *foot, Text("Ctrl-C ends this", style="dim")), refresh=True)
