"""Following a run of a service until its record is closed.

A connection that breaks is taken up again where it broke; a service that stays away is given up after
`PATIENCE_SECONDS`.
"""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

import rich_click as click
from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from orchestrator.cli import cards, client, consoles
from orchestrator.cli.entries import sentence
from orchestrator.errors import UnavailableError
from orchestrator.slack.text import line, visible

if TYPE_CHECKING:
    import httpx

PATIENCE_SECONDS: Final = 120.0
"""How long the service may be away before a watch is given up."""
SILENCE_SECONDS: Final = 45.0
"""Without a byte of a stream; the service lets no more than 15 go by."""
AGAIN_SECONDS, SLOWEST_SECONDS = 1.0, 10.0
MOST_TOLD: Final = 4_000
"""Characters of one entry or change; all of it is in its JSON."""

EXIT: Final = {"completed": 0, "failed": 1, "cancelled": 1, "attention": 4}
"""How watching a run ends, as an exit code."""

Json = dict[str, Any]


class Patience:
    """Waits between attempts, longer each time, until a service that answered has been away for too long."""

    def __init__(self) -> None:
        self._since: float | None = None  # one that never answered is not waited for
        self._pause = AGAIN_SECONDS

    def answered(self) -> None:
        self._since, self._pause = time.monotonic(), AGAIN_SECONDS

    def wait(self, why: UnavailableError) -> None:
        """Raises what it was given, once that is the better thing to do."""
        if self._since is None or time.monotonic() - self._since + self._pause > PATIENCE_SECONDS:
            raise why
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, SLOWEST_SECONDS)


class Record:
    """A run's record as it grows: each entry once and in order, over however many connections.

    Args:
        closely: Read the run again after every entry, for a picture of how far it is.
    """

    def __init__(self, service: "httpx.Client", run_id: str, *, closely: bool = False) -> None:
        self._service, self._closely = service, closely
        self._path = f"/v1/runs/{client.part(run_id)}"
        self._after = 0

    def __iter__(self) -> Iterator[tuple[str, Json]]:
        """("entry", …) and ("run", …), until the run has ended or waits for a person to settle it.

        Raises:
            UnavailableError: The service is away for too long.
            ClickException: There is no such run.
        """
        patience = Patience()
        while True:
            try:
                run = self._run()  # before its entries: once it is closed, they are all there
                patience.answered()
                yield from self._written()
                yield "run", run
                if run["closed_at"] or run["status"] == "attention":
                    return
                yield from self._streamed()
            except UnavailableError as e:
                patience.wait(e)

    def _run(self) -> Json:
        return client.one(self._service, self._path, "status", "progress", "calls")

    def _written(self) -> Iterator[tuple[str, Json]]:
        """What is in the record beyond what is known."""
        more = True
        while more:
            page = client.one(self._service, f"{self._path}/events?after={self._after}", "items", "next")
            for entry in page["items"]:
                yield self._took(entry)
            more = page["next"] is not None

    def _streamed(self) -> Iterator[tuple[str, Json]]:
        """What is added, until the stream breaks (then after a pause), or there is reason to look anew."""
        for name, entry in _events(self._bytes()):
            if name == "end":
                return
            if name == "entry":
                yield self._took(entry)
                if entry["status"] == "attention":
                    return
                if self._closely:
                    yield "run", self._run()
        time.sleep(AGAIN_SECONDS)

    def _took(self, entry: Json) -> tuple[str, Json]:
        self._after = entry["seq"]
        return "entry", entry

    def _bytes(self) -> Iterator[bytes]:
        import httpx

        headers = {"accept": "text/event-stream", "last-event-id": str(self._after)}
        timeout = httpx.Timeout(client.PATIENCE_SECONDS, read=SILENCE_SECONDS)
        try:
            with self._service.stream(
                "GET", f"{self._path}/events", headers=headers, timeout=timeout
            ) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise UnavailableError(f"the service does not stream it: {client.detail(answer)}")
                yield from answer.iter_bytes()
        except httpx.RequestError as e:
            raise UnavailableError(f"the stream broke: {e or type(e).__name__}") from e


def _events(chunks: Iterable[bytes]) -> Iterator[tuple[str, Any]]:
    """Server-sent events: name and JSON. Split at line feeds only, since JSON may hold Unicode's others.

    Source: WHATWG HTML, "Server-sent events".
    """
    name, data, rest = "message", "", b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for raw in lines:
            field, _, value = raw.rstrip(b"\r").decode("utf-8", "replace").partition(":")
            if field == "event":
                name = value.removeprefix(" ")
            elif field == "data":
                data += value.removeprefix(" ")
            elif not (field or value) and data:
                yield name, client.read(data)
                name, data = "message", ""


def run(service: "httpx.Client", run_id: str, *, as_json: bool) -> int:
    """Tell what happens in a run until it ends or waits for a person to settle it; the exit code."""
    board: _Board = _Lines() if as_json else _Picture() if sys.stdout.isatty() else _Words()
    last: Json = {}
    with board.open():
        for what, told in Record(service, run_id, closely=isinstance(board, _Picture)):
            if what == "entry":
                board.entry(told)
            else:
                last = told
                board.run(told)
    board.close(last)
    return EXIT[last["status"]]


class _Board(Protocol):
    """Where a run is shown while it goes on."""

    def open(self) -> AbstractContextManager[Any]: ...
    def entry(self, entry: Json) -> None: ...
    def run(self, run: Json) -> None: ...
    def close(self, run: Json) -> None: ...


class _Lines:
    """For programs: each entry as the API gives it, and at last how it ended."""

    def open(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def entry(self, entry: Json) -> None:
        say(json.dumps(entry))

    def run(self, run: Json) -> None:
        """Only its end is told."""

    def close(self, run: Json) -> None:
        say(json.dumps({"end": run["status"], "reason": run["reason"], "output": run["output"]}))


class _Words(_Lines):
    """For people, into a file or a pipe: the same in words."""

    def entry(self, entry: Json) -> None:
        say(_told(entry))

    def close(self, run: Json) -> None:
        for words in conclusion(run):
            say(consoles.plain(visible(words)[0]))


class _Picture(_Words):
    """For people at a terminal: the same lines, and below them how far the run is."""

    def __init__(self) -> None:
        self._console = Console()
        self._live = Live(console=self._console, transient=True, refresh_per_second=8)

    def open(self) -> AbstractContextManager[Any]:
        return self._live

    def entry(self, entry: Json) -> None:
        self._console.print(Text(_told(entry), overflow="fold"))

    def run(self, run: Json) -> None:
        now = datetime.now(UTC)
        waits = [Text(consoles.plain(words), style="yellow") for words in waiting(run)]
        spinner = Spinner("dots", text=Text(progress(run, now), style="bold"))
        self._live.update(Group(spinner, *waits))


def progress(run: Mapping[str, Any], now: datetime) -> str:
    """How far a run is, in a line."""
    counts = run["progress"]
    calls = f", {counts['settled']} of {counts['calls']} calls settled" if counts["calls"] else ""
    jobs = f", {counts['jobs']}" if counts["jobs"] else ""
    minutes = int((now - datetime.fromisoformat(run["created_at"])).total_seconds()) // 60
    since = f", for {minutes // 60} h {minutes % 60} min" if minutes >= 60 else f", for {minutes} min"
    return f"{run['status']}, turn {run['turn']}{calls}{jobs}{since if minutes else ''}"


def waiting(run: Mapping[str, Any]) -> Iterator[str]:
    """Each question of the run that is open, and how to see it."""
    for call in run["calls"]:
        asked = call["approval"]
        if asked and asked["status"] == "pending":
            yield f"  {cards.about(call)} waits for a person: orchestrator approvals show {asked['id']}"


def conclusion(run: Mapping[str, Any]) -> Iterator[str]:
    """How it ended, and what a person can do where it did not end well."""
    yield f"{run['id']} is {run['status']}" + (f": {run['reason']}" if run["reason"] else "")
    if run["status"] == "attention":
        yield f"a person must settle it: orchestrator runs show {run['id']}, then retry or resolve"
        yield from waiting(run)
    yield from (f"{'output':<10} {said}" for said in run["output"].split("\n") if said)


def _told(entry: Mapping[str, Any]) -> str:
    return consoles.plain(f"{entry['at'][11:19]}  {entry['status']:<10} {line(sentence(entry), MOST_TOLD)}")


def say(line: str) -> None:
    """At once, also into a pipe."""
    click.echo(line)
    sys.stdout.flush()
