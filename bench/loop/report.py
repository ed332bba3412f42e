"""What was measured as a Markdown page, with ratios beside their bars, and as a plot."""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.loop import plot
from bench.loop.contenders import Cost
from bench.loop.games import GAMES, Game
from bench.loop.measured import Match, Measured

NOTES: Final = """\
Nobody has doors: no HTTP and no signatures, event and answer are handed over within the process as soon as
the run waits for them, and a run is over when its last effect is durable.

Runs/s: at least {in_flight} runs at once from start to end, median of the rounds, each round a new process
over a fresh database, warmed up. Processor time is that of the engine's process (with the game's driver),
without the database server's. Commits: on SQLite write transactions by the file's own count, on PostgreSQL
`xact_commit`, which counts reading transactions too. Fsyncs: on SQLite fsync and fdatasync under strace, on
PostgreSQL those of its log. Both in a pass of its own, less what a pass without a run takes. Runs that wait
for a commit at the same moment share it: the busier, the fewer commits a run.
`rows` is no engine: six commits of bare rows, without anything a person could read, ask for or rely on beyond
that. It is there to show what a database alone allows.
The order is turned round every other round; what else the machine does moves all rows."""


def markdown(measured: Measured) -> str:
    """The whole page."""
    played = [game for game in GAMES.values() if any(m.game == game.name for m in measured.played)]
    parts = [*_head(measured), *(line for game in played for line in _game(measured, game))]
    return "\n".join(
        [*parts, "", "## How it is measured", "", NOTES.format(in_flight=measured.in_flight), ""]
    )


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
    yield f"Every transition durable, {measured.in_flight} runs at once, rounds: {rounds}."
    yield ""
    yield from (f"- {about}" for about in measured.about.values())
    said = {(match.contender, p.about): None for match, played in measured.played.items() for p in played}
    yield from (f"- {name} {about}" for name, about in said)


def _game(measured: Measured, game: Game) -> Iterator[str]:
    yield from ("", f"## `{game.name}`", "", f"{game.story}", "", game.about, "")
    yield from _table(measured, game)
    yield from _ratios(measured, game)


def _table(measured: Measured, game: Game) -> Iterator[str]:
    yield (
        f"| {game.name} | runs/s, median (range) | CPU of a run | event → next step p50 / p99, 1 in flight"
        " | commits a run | fsyncs a run |"
    )
    yield "|---|---|---|---|---|---|"
    found = [match for match in measured.played if match.game == game.name]
    for match in sorted(found, key=lambda m: list(measured.about).index(m.database)):
        rates, wakes = measured.rates(match), measured.wakes(match)
        cost = measured.costs.get(match, Cost(None, None))
        yield (
            f"| {match.contender}, {match.database}"
            f" | {statistics.median(rates):.1f} ({min(rates):.1f}–{max(rates):.1f})"
            f" | {measured.cpu(match):.1f} ms"
            f" | {f'{wakes[0]:.1f} / {wakes[1]:.1f} ms' if wakes else '–'}"
            f" | {_number(cost.commits)} | {_number(cost.fsyncs)} |"
        )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _ratios(measured: Measured, game: Game) -> Iterator[str]:
    """Ours over each peer: of the medians, with the worst and best of the rounds; with bars beside them."""
    rows = [_ratio(measured, m) for database in measured.about for m in measured.against(game.name, database)]
    if rows:
        head = ("bar | |", "---|---|") if game.barred else ("", "")
        yield from ("", f"| {game.name}, runs/s | ratio of medians (by round) | {head[0]}".rstrip())
        yield from (f"|---|---|{head[1]}", *rows)


def _ratio(measured: Measured, match: Match) -> str:
    """One row of them."""
    ours, theirs = measured.rates(match._replace(contender="ours")), measured.rates(match)
    ratio = statistics.median(ours) / statistics.median(theirs)
    by_round = [a / b for a, b in zip(ours, theirs, strict=True)]
    found = f"{ratio:.1f}× ({min(by_round):.1f}–{max(by_round):.1f})"
    said = f"| ours / {match.contender}, {match.database} | {found} |"
    if (bar := measured.bar(match)) is None:
        return f"{said} – | |" if GAMES[match.game].barred else said
    return f"{said} ≥ {bar:g}× | {'held' if ratio >= bar else 'missed'} |"
