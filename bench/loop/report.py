"""What was measured as a Markdown page, with ratios beside their bars, and as a plot."""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.loop import plot
from bench.loop.contenders import CONTENDERS, Cost
from bench.loop.measured import Measured

NOTES: Final = """\
A run of ours does more than the same run of a peer: it stores the webhook, validates the call against the
tool's schema and policy, posts the question to Slack and redraws it, and writes the record people read.

Runs/s: at least {in_flight} runs at once from start to end, median of the rounds, each round a new process
over a fresh database, warmed up. Processor time is that of the engine's process (with the loop's driver),
without the database server's. Commits: on SQLite write transactions by the file's own count, on PostgreSQL
`xact_commit`, which counts reading transactions too. Fsyncs: on SQLite fsync and fdatasync under strace, on
PostgreSQL those of its log. Both in a pass of its own, less what a pass without a run takes. Runs that wait
for a commit at the same moment share it on SQLite: the busier, the fewer commits a run.
The order is turned round every other round; what else the machine does moves all rows."""


def markdown(measured: Measured) -> str:
    """The whole page."""
    parts = [*_head(measured), "", *_table(measured), *_ratios(measured), ""]
    return "\n".join([*parts, NOTES.format(in_flight=measured.in_flight), ""])


def write(measured: Measured, folder: Path) -> list[Path]:
    """Page and plot; returns where they are."""
    folder.mkdir(exist_ok=True)
    files = {
        folder / "loop.md": markdown(measured).replace("\n\n", "\n\n![runs a second](loop.svg)\n\n", 1),
        folder / "loop.svg": plot.svg(measured),
    }
    for file, text in files.items():
        file.write_text(text)
    return list(files)


def _head(measured: Measured) -> Iterator[str]:
    rounds = max(len(p) for p in measured.played.values())
    yield "# The durable loop, side by side"
    yield ""
    yield (
        "start → step → wait for an event → step → wait for a person → step → done; every transition durable,"
        f" {measured.in_flight} runs at once, rounds: {rounds}."
    )
    yield ""
    yield from (f"- {about}" for about in measured.about.values())
    said = {(name, p.about): None for (name, _), games in measured.played.items() for p in games}
    yield from (f"- {name} {about}" for name, about in said)


def _table(measured: Measured) -> Iterator[str]:
    yield (
        "| | runs/s, median (range) | CPU of a run | event → next step p50 / p99, 1 in flight"
        " | commits a run | fsyncs a run |"
    )
    yield "|---|---|---|---|---|---|"
    for game in sorted(measured.played, key=lambda g: list(measured.about).index(g[1])):
        rates, wakes = measured.rates(game), measured.wakes(game)
        cost = measured.costs.get(game, Cost(None, None))
        yield (
            f"| {game[0]}, {game[1]}"
            f" | {statistics.median(rates):.1f} ({min(rates):.1f}–{max(rates):.1f})"
            f" | {measured.cpu(game):.1f} ms"
            f" | {f'{wakes[0]:.1f} / {wakes[1]:.1f} ms' if wakes else '–'}"
            f" | {_number(cost.commits)} | {_number(cost.fsyncs)} |"
        )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _ratios(measured: Measured) -> Iterator[str]:
    """Ours over each peer: of the medians, with the worst and best of the rounds, beside the bar."""
    rows = []
    for database in measured.about:
        for peer in CONTENDERS:
            if peer.bars is None or not {(peer.name, database), ("ours", database)} <= measured.played.keys():
                continue
            ours, theirs = measured.rates(("ours", database)), measured.rates((peer.name, database))
            ratio, bar = statistics.median(ours) / statistics.median(theirs), peer.bars[database]
            by_round = [a / b for a, b in zip(ours, theirs, strict=True)]
            rows.append(
                f"| ours / {peer.name}, {database} | {ratio:.1f}× ({min(by_round):.1f}–{max(by_round):.1f})"
                f" | ≥ {bar:g}× | {'held' if ratio >= bar else 'missed'} |"
            )
    if rows:
        yield from ("", "| runs/s | ratio of medians (by round) | bar | |", "|---|---|---|---|", *rows)
