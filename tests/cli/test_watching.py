"""`orchestrator runs watch` and `retry`, against the API of a service that listens."""

import asyncio
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from cli_kit import Shell

from orchestrator import app
from orchestrator.cli import watching
from orchestrator.domain.events import (
    CreateClaimed,
    CreateGraceEnded,
    CreateRefused,
    CreateUncertain,
    InteractionObserved,
)
from orchestrator.domain.exchange import Snapshot
from orchestrator.domain.model import Policy
from orchestrator.engine import step
from orchestrator.store.database import Database

DONE = Snapshot("i1", "completed", output="Done.\nReally.")


def happens(served: Database, run_id: str, *events: Any) -> None:
    policy = Policy(retry_lost_create=False)
    for event in events:
        asyncio.run(served.write(step.apply, run_id, event, policy=policy, now=app.now()))


def started(shell: Shell) -> str:
    return str(json.loads(shell("runs start shop 'Refund A-17.' --json")[1])["id"])


class Wire:
    """Between a client and a service: does something before each stream begins, and cuts the first one."""

    def __init__(self, to: int, before: list[Callable[[], None]]) -> None:
        self._to, self._before = to, before
        self.asked: list[str] = []
        self._cuts = 1
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads: list[threading.Thread] = []

    @contextmanager
    def laid(self) -> Iterator[str]:
        accepting = threading.Thread(target=self._accept)
        accepting.start()
        try:
            yield self.url
        finally:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            accepting.join()
            for thread in self._threads:
                thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            service = socket.create_connection(("127.0.0.1", self._to))
            ways = ((client, service, self._there), (service, client, self._back))
            for source, target, look in ways:
                thread = threading.Thread(target=self._carry, args=(source, target, look))
                self._threads.append(thread)
                thread.start()

    def _carry(self, source: socket.socket, target: socket.socket, look: Callable[[bytes], bool]) -> None:
        with suppress(OSError):  # the other way has ended
            while (data := source.recv(65536)) and look(data):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _there(self, data: bytes) -> bool:
        if b"text/event-stream" in data:
            [place] = re.findall(rb"(?i)last-event-id: (\d+)", data)
            self.asked.append(place.decode())
            self._before[len(self.asked) - 1]()
        return True

    def _back(self, data: bytes) -> bool:
        if b"event: entry" in data and self._cuts:
            self._cuts -= 1
            return False
        return True


def test_a_watch_goes_on_where_its_stream_broke(
    shell: Shell, served: Database, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "AGAIN_SECONDS", 0.01)
    run_id = started(shell)
    wire = Wire(
        port,
        [
            lambda: happens(served, run_id, CreateClaimed(1, 1)),
            lambda: happens(served, run_id, InteractionObserved(1, 1, DONE)),
        ],
    )
    with wire.laid() as url:
        code, out, err = shell(f"runs watch {run_id} --json --url {url}")
    *entries, end = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [e["seq"] for e in entries] == [1, 2, 3]
    assert wire.asked == ["1", "2"]
    assert end == {"end": "completed", "reason": "", "output": DONE.output}


def test_the_exit_code_says_how_a_run_ended(shell: Shell, served: Database) -> None:
    done, lost, stopped = started(shell), started(shell), started(shell)
    happens(served, done, CreateClaimed(1, 1), InteractionObserved(1, 1, DONE))
    happens(served, lost, CreateClaimed(1, 1), CreateUncertain(1, 1, "reset"), CreateGraceEnded(1, 1))
    told = json.loads(shell(f"runs cancel {stopped} --reason late --json")[1])
    assert (told["id"], told["status"]) == (stopped, "cancelled")

    code, out, _ = shell(f"runs watch {done}")
    assert (code, out.splitlines()[-2:]) == (0, ["output     Done.", "output     Really."])
    assert "interaction 1 goes out to Gemini" in out
    assert "Gemini says completed" in out
    code, out, _ = shell(f"runs watch {lost}")
    assert (code, f"orchestrator runs show {lost}, then retry or resolve" in out) == (4, True)
    assert shell(f"runs watch {stopped}")[0] == 1
    assert shell("runs watch run_x")[0] == 1


def test_a_service_that_is_not_there_is_not_waited_for(shell: Shell, port: int) -> None:
    for line in ("runs watch run_x", "approvals watch --json"):
        code, out, err = shell(line)
        assert (code, out, "is not reached" in err) == (3, "", True)


def test_retry_takes_the_way_the_state_allows(shell: Shell, served: Database) -> None:
    lost, failed, live = started(shell), started(shell), started(shell)
    happens(served, lost, CreateClaimed(1, 1), CreateUncertain(1, 1, "reset"), CreateGraceEnded(1, 1))
    code, out, _ = shell(f"runs retry {lost}")
    assert (code, out) == (0, f"{lost} is queued: the request to Gemini that got lost is sent again\n")
    happens(served, failed, CreateClaimed(1, 1), CreateRefused(1, 1, "HTTP 400", "invalid_request"))
    code, out, _ = shell(f"runs retry {failed}")
    assert (code, f"goes on with the work of {failed}" in out) == (0, True)
    assert json.loads(shell(f"runs retry {failed} --json")[1])["restart_of"] == failed
    code, _, err = shell(f"runs retry {live}")
    assert (code, "is queued: retried is what failed" in " ".join(err.split())) == (1, True)


def test_events_are_split_at_line_feeds_only() -> None:
    entry = 'id: 1\r\nevent: entry\r\ndata: {"a": "x\u2028y"}\r\n\r\n'
    wire = f"retry: 9\r\n\r\n: ping\r\n\r\n{entry}event: end\r\nda"
    chunks = [bytes([b]) for b in wire.encode()]
    assert list(watching._events([*chunks, b"ta: {}\n\n"])) == [("entry", {"a": "x\u2028y"}), ("end", {})]
