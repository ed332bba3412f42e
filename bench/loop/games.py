"""The two games: what a run goes through in each, and what that is on each engine.

Standard library only: it is read by our program and by its peers, which live in different environments.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Game:
    """What is played.

    Args:
        story: A run from start to end, on one line.
        barred: Whether ours has to be so many times as fast as its peers.
        about: For the page: what the steps are on each engine, and what of it is not the same.
    """

    name: str
    story: str
    barred: bool
    about: str


LOOP: Final = Game(
    "loop",
    "start → step → wait for an event → step → wait for a person → step → done",
    barred=True,
    about="""\
No more than that. Ours, without Slack: the steps are the create; after the webhook the reading, by which
the agent asks people (`ask_human`, nothing runs by it); after the answer the create that carries it, whose
response ends the run. LangGraph: three nodes, the second and third begin with an interrupt. DBOS: three
steps, with a `recv` between them. What is still not the same: the peers' steps do nothing, while ours keeps
the webhook as it came, holds the question against the tool's schema and policy, the answer against the
question and who may give it, sets the timers of run and question, and writes the record people read.""",
)
JOB: Final = Game(
    "job",
    "create → wait for an event → read → post the question → wait for a person → run the approved tool"
    " → send its result → redraw the message → done",
    barred=False,
    about="""\
All an agent needs that asks before it acts, each effect a durable step of its own. Ours: an effect each, the
tool claimed and passed by the gate before it runs. LangGraph: six nodes, a wait at the beginning of the node
whose effect follows it, so that nothing is repeated. DBOS: six steps, with a `recv` before the second and the
fourth. The peers' effects do nothing. What ours does beyond them is what it does in the loop; besides it puts
the message together each time, and redraws it after the decision and after the tool.""",
)
GAMES: Final = {game.name: game for game in (LOOP, JOB)}
