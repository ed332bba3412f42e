"""What one run of the program found, and the figures people ask of it."""

import statistics
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.loop.contenders import CONTENDERS, Cost
from bench.loop.games import GAMES
from bench.loop.player import Played


class Match(NamedTuple):
    """One engine at one game on one database, by their names."""

    game: str
    database: str
    contender: str


@dataclass(frozen=True, slots=True)
class Measured:
    """All rounds of all matches; `about` says by database how it was set up."""

    in_flight: int
    about: dict[str, str]
    played: dict[Match, list[Played]] = field(default_factory=dict)
    costs: dict[Match, Cost] = field(default_factory=dict)

    def rates(self, match: Match) -> list[float]:
        """Runs a second in each round."""
        return [p.runs / p.seconds for p in self.played[match]]

    def cpu(self, match: Match) -> float:
        """Milliseconds of processor time for a run in the engine's own process, median of the rounds."""
        return statistics.median(p.cpu / p.runs * 1000 for p in self.played[match])

    def wakes(self, match: Match) -> tuple[float, float] | None:
        """Milliseconds from an event to the next step, p50 and p99, over all rounds."""
        seconds = [w for p in self.played[match] for w in p.wakes]
        if len(seconds) < 2:
            return None
        cuts = statistics.quantiles(seconds, n=100, method="inclusive")
        return cuts[49] * 1000, cuts[98] * 1000

    def against(self, game: str, database: str) -> list[Match]:
        """What peers of ours played of that game on that database, if ours played too."""
        ours = Match(game, database, "ours")
        group = [m for m in self.played if m[:2] == ours[:2] and m != ours]
        return group if ours in self.played else []

    def bar(self, match: Match) -> float | None:
        """How many times as fast as that peer ours has to be there; None where nothing is asked."""
        bars = {c.name: c.bars or {} for c in CONTENDERS} if GAMES[match.game].barred else {}
        return bars.get(match.contender, {}).get(match.database)
