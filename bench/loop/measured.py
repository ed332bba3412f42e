"""What one run of the program found, and the figures people ask of it."""

import statistics
from dataclasses import dataclass, field

from bench.loop.contenders import Cost
from bench.loop.player import Played

Game = tuple[str, str]
"""A contender's name and a database's."""


@dataclass(frozen=True, slots=True)
class Measured:
    """All rounds of all games; `about` says by database how it was set up."""

    in_flight: int
    about: dict[str, str]
    played: dict[Game, list[Played]] = field(default_factory=dict)
    costs: dict[Game, Cost] = field(default_factory=dict)

    def rates(self, game: Game) -> list[float]:
        """Runs a second in each round."""
        return [p.runs / p.seconds for p in self.played[game]]

    def cpu(self, game: Game) -> float:
        """Milliseconds of processor time for a run in the engine's own process, median of the rounds."""
        return statistics.median(p.cpu / p.runs * 1000 for p in self.played[game])

    def wakes(self, game: Game) -> tuple[float, float] | None:
        """Milliseconds from an event to the next step, p50 and p99, over all rounds."""
        seconds = [w for p in self.played[game] for w in p.wakes]
        if len(seconds) < 2:
            return None
        cuts = statistics.quantiles(seconds, n=100, method="inclusive")
        return cuts[49] * 1000, cuts[98] * 1000
