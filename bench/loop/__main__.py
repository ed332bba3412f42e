"""`python -m bench.loop`: the same games on three engines and two databases, side by side in one run, and
beside them bare rows, the least that could keep the loop's promises.

    python -m bench.loop                                           everything, written to bench/results/
    python -m bench.loop --games loop                              one of the games
    python -m bench.loop --only ours --databases sqlite --runs 300     ours alone, printed, some seconds

`loop` is start, step, event, step, person, step, done; `job` is all an agent does that asks before it acts.
What ours has to reach is held against `loop`.

Rounds are interleaved, so that a machine that slows down slows everybody down.
"""

import argparse
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.loop import contenders, databases, report
from bench.loop.contenders import CONTENDERS, Contender
from bench.loop.databases import Server
from bench.loop.games import GAMES
from bench.loop.measured import Match, Measured

RESULTS: Final = Path(__file__).parents[1] / "results"
COUNTED: Final = 256
"""Runs whose commits and fsyncs are counted."""


def main() -> None:
    """Print the tables; write them too when everybody played."""
    options = _options()
    players = [c for c in CONTENDERS if c.name in options.only]
    if any(c.bars for c in players):
        contenders.prepare()
    with ExitStack() as stack:
        servers = {name: stack.enter_context(databases.server(name)) for name in options.databases}
        about = {name: server.about for name, server in servers.items()}
        measured = Measured(options.in_flight, about)
        for number in range(options.rounds):
            _round(number, servers, options, measured)
        if options.costs:
            _costs(servers, options, measured)
    print(report.markdown(measured))
    if len(players) == len(CONTENDERS):
        for file in report.write(measured, RESULTS):
            _say(f"wrote {file}")


def _round(number: int, servers: dict[str, Server], options: argparse.Namespace, measured: Measured) -> None:
    """Everybody once; every other round the other way about, so that no one always follows the same."""
    matches = _matches(options)
    for match, contender in matches if number % 2 == 0 else matches[::-1]:
        length = ["--seconds", str(options.seconds), "--runs", str(options.runs or options.in_flight)]
        more = ["--wakes", str(options.wakes), "--in-flight", str(options.in_flight)]
        how = [*length, *more, "--warm", str(options.warm)]
        with servers[match.database].fresh() as url:
            played = contenders.play(contender, match.game, url, how)
        measured.played.setdefault(match, []).append(played)
        rate = played.runs / played.seconds
        _say(f"round {number + 1}: {_named(match)}: {rate:.1f} runs/s ({played.runs} runs)")


def _costs(servers: dict[str, Server], options: argparse.Namespace, measured: Measured) -> None:
    for match, contender in _matches(options):
        _say(f"what a run costs: {_named(match)}")
        server = servers[match.database]
        found = contenders.cost(contender, match.game, server, COUNTED, options.in_flight)
        measured.costs[match] = found


def _matches(options: argparse.Namespace) -> list[tuple[Match, Contender]]:
    return [
        (Match(game, database, contender.name), contender)
        for game in options.games
        for database in options.databases
        for contender in CONTENDERS
        if contender.name in options.only and game in contender.games
    ]


def _named(match: Match) -> str:
    return f"{match.game}, {match.contender} on {match.database}"


def _options() -> argparse.Namespace:
    names = [c.name for c in CONTENDERS]
    parser = argparse.ArgumentParser(prog="python -m bench.loop", description="The durable loop.")
    parser.add_argument("--games", type=_names(list(GAMES)), default=",".join(GAMES), help="one or both")
    parser.add_argument("--runs", type=int, help="each time; without it as many as fit into --seconds")
    parser.add_argument("--seconds", type=float, help="each time, at least (8)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--databases", type=_names(["sqlite", "postgresql"]), default="sqlite,postgresql")
    parser.add_argument("--only", type=_names(names), default=",".join(names), help="some of them")
    parser.add_argument("--in-flight", type=int, default=64, help="runs at once")
    parser.add_argument("--warm", type=int, default=64, help="runs before the clock starts")
    parser.add_argument("--wakes", type=int, default=50, help="events measured one at a time, each time")
    parser.add_argument(
        "--costs",
        action=argparse.BooleanOptionalAction,
        help="count commits and fsyncs (when everybody plays)",
    )
    options = parser.parse_args()
    if options.seconds is None:
        options.seconds = 8.0 if options.runs is None else 0.0
    if options.costs is None:
        options.costs = len(options.only) == len(names)
    return options


def _names(known: list[str]) -> Callable[[str], list[str]]:
    """For argparse: a list with commas of what is known."""

    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: known are {', '.join(known)}")
        return chosen

    return parse


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


main()
