"""Plays one game on one engine, in this process, and prints what it took as one line of JSON.

Standard library only: it is shared by our program and by its peers, which live in different environments.
"""

import argparse
import asyncio
import json
import struct
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from bench.loop.games import GAMES

PATIENCE_SECONDS: Final = 120.0
"""A run that takes longer is stuck, and the measurement ends with an error."""


class Engine(Protocol):
    """An engine over an open database. `about` names versions and what makes its commits durable."""

    about: str

    async def one(self) -> float:
        """Play one run to its durable end; returns seconds from the event to the step after it."""
        ...


Opener = Callable[[str, str], AbstractAsyncContextManager[Engine]]
"""Opens an engine on `sqlite:///path` or `postgresql://…` for a game of that name; the database is empty."""


@dataclass(frozen=True, slots=True)
class Played:
    """What one process measured.

    Args:
        seconds: For `runs`, from the first start to the last end.
        cpu: Seconds of processor time this process took meanwhile.
        wakes: Seconds from an event to the step after it, one run at a time.
        commits: Write transactions since the engine was opened; SQLite only.
    """

    about: str
    runs: int
    seconds: float
    cpu: float
    wakes: list[float]
    commits: int | None


async def play(engine: Engine, runs: int, in_flight: int, seconds: float = 0.0) -> list[float]:
    """At least so many runs for at least so long, `in_flight` at once until there are none left to start.

    Returns:
        What `Engine.one` gave for each run.
    """
    until, started = time.perf_counter() + seconds, 0
    wakes: list[float] = []

    async def player() -> None:
        nonlocal started
        while started < runs or time.perf_counter() < until:
            started += 1
            wakes.append(await asyncio.wait_for(engine.one(), PATIENCE_SECONDS))

    async with asyncio.TaskGroup() as players:
        for _ in range(in_flight):
            players.create_task(player())
    return wakes


async def measure(opener: Opener, options: argparse.Namespace) -> Played:
    """Warm up, play, then wake runs one at a time."""
    async with opener(options.database, options.game) as engine:
        await play(engine, options.warm, options.in_flight)
        began, cpu = time.perf_counter(), time.process_time()
        runs = len(await play(engine, options.runs, options.in_flight, options.seconds))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        wakes = await play(engine, options.wakes, 1)
        return Played(engine.about, runs, seconds, cpu, wakes, commits(options.database))


def commits(url: str) -> int | None:
    """Write transactions of an open SQLite file, as its own files count them; None for another database.

    With a write-ahead log the index beside it counts (`iChange`; sqlite.org/walformat.html, "WAL-Index
    Header"), without one the file itself (sqlite.org/fileformat2.html, "File change counter").
    """
    if not url.startswith("sqlite"):
        return None
    path = Path(url.partition("///")[2])
    index = path.with_name(f"{path.name}-shm")
    if index.exists():
        return int(struct.unpack_from("=I", index.read_bytes(), 8)[0])
    return int.from_bytes(path.read_bytes()[24:28], "big")


def main(opener: Opener, runner: Callable[[Any], Played] = asyncio.run) -> None:
    """The command line every engine has; the last line on stdout is a `Played` as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", required=True, help="sqlite:///path or postgresql://…, empty")
    parser.add_argument("--game", required=True, choices=list(GAMES))
    parser.add_argument("--runs", type=int, default=300, help="at least so many")
    parser.add_argument("--seconds", type=float, default=0.0, help="at least so long")
    parser.add_argument("--warm", type=int, default=64, help="runs before the clock starts")
    parser.add_argument("--wakes", type=int, default=100, help="runs afterwards, one at a time")
    parser.add_argument("--in-flight", type=int, default=64)
    played = runner(measure(opener, parser.parse_args()))
    print(json.dumps(asdict(played)), flush=True)
