"""Runs a second as an SVG: for each game and database a group of bars, one for each engine with its range
over the rounds, and where ours has to reach."""

import statistics
from collections.abc import Iterable, Iterator
from html import escape
from typing import Final

from bench.loop.games import GAMES
from bench.loop.measured import Match, Measured

WIDTH: Final = 760
LEFT: Final = 130
RIGHT: Final = 110
ROW: Final = 30
HEAD: Final = 34
TOP: Final = 52
COLOURS: Final = {"ours": "#1f6f78", "rows": "#9a9a9a", "langgraph": "#b8743a", "dbos": "#7a6aa8"}


def svg(measured: Measured) -> str:
    """A whole file; colours, font and size do not depend on the viewer."""
    groups = _groups(measured)
    height = TOP + sum(HEAD + ROW * len(group) for group in groups.values()) + 16
    scale = (WIDTH - LEFT - RIGHT) / max(_ends(measured))
    body, y = [], TOP
    for (game, database), group in groups.items():
        body += [_text(16, y + 20, f"{game} on {database}", weight="bold")]
        for n, match in enumerate(group):
            body += _row(measured, match, y + HEAD + n * ROW, scale)
        body += _bars(measured, group, y + HEAD, scale)
        y += HEAD + ROW * len(group)
    return "\n".join([*_frame(measured, height), *body, "</svg>", ""])


def _groups(measured: Measured) -> dict[tuple[str, str], list[Match]]:
    """What is compared with each other, by game and database, in the order of the page."""
    pairs = [(game, database) for game in GAMES for database in measured.about]
    groups = {pair: [m for m in measured.played if m[:2] == pair] for pair in pairs}
    return {pair: sorted(group, key=_place) for pair, group in groups.items() if group}


def _place(match: Match) -> int:
    return list(COLOURS).index(match.contender)


def _ends(measured: Measured) -> Iterator[float]:
    """Everything that has to find room on the scale."""
    yield from (rate for match in measured.played for rate in measured.rates(match))
    yield from (reach for _, reach in _reaches(measured, measured.played))


def _reaches(measured: Measured, matches: Iterable[Match]) -> Iterator[tuple[str, float]]:
    """By peer: the runs a second at which ours holds its bar, where there is one."""
    for match in matches:
        if (bar := measured.bar(match)) is not None:
            yield match.contender, bar * statistics.median(measured.rates(match))


def _frame(measured: Measured, height: int) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
        f' viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">'
    )
    yield f'<rect width="{WIDTH}" height="{height}" fill="white"/>'
    yield _text(16, 24, f"The durable loop, {measured.in_flight} runs at once: runs a second", weight="bold")
    yield _text(16, 42, "bar: median, line: range over the rounds, dashes: what ours has to reach", size=11)


def _row(measured: Measured, match: Match, y: float, scale: float) -> Iterator[str]:
    rates = measured.rates(match)
    median, low, high = statistics.median(rates), min(rates), max(rates)
    middle = y + ROW / 2
    yield _text(LEFT - 10, middle + 4, match.contender, anchor="end")
    yield (
        f'<rect x="{LEFT}" y="{y + 5}" width="{median * scale:.1f}" height="{ROW - 10}"'
        f' fill="{COLOURS[match.contender]}"/>'
    )
    yield _line(LEFT + low * scale, middle, LEFT + high * scale, middle, "#222", "2")
    yield _text(LEFT + max(median, high) * scale + 8, middle + 4, f"{median:.0f} ({low:.0f}–{high:.0f})")


def _bars(measured: Measured, group: list[Match], y: float, scale: float) -> Iterator[str]:
    """Over our own bar, which is the first, in the colour of the peer it is measured by."""
    for name, reach in _reaches(measured, group):
        x = LEFT + reach * scale
        yield _line(x, y + 1, x, y + ROW - 1, COLOURS[name], "2", dashes="3 2")


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: str, dashes: str = "none") -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"'
        f' stroke-width="{width}" stroke-dasharray="{dashes}"/>'
    )


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal", size: int = 13
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" font-size="{size}"'
        f' fill="#222">{escape(text)}</text>'
    )
