"""Both games on LangGraph: a graph with two `interrupt()`, resumed by `Command(resume=...)`.

Runs in the peers' environment and knows nothing of our program. As its documentation has it: async,
`durability="sync"` (a checkpoint is on disk before the next step starts), a node for each effect and none
before an interrupt in its node, which would repeat it, one saver, on PostgreSQL over a connection pool.
What may be chosen is chosen for speed: each wait shares a node, and so a checkpoint, with the effect after
it. So the loop has three nodes and the job six.
"""

import itertools
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final, TypedDict

import aiosqlite
import uvloop
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from bench.loop import games, player

CONNECTIONS: Final = 16

woken_at: dict[str, float] = {}
"""When the step after the event began, by run."""


class State(TypedDict, total=False):
    """What a run carries along."""

    run: str
    created: str
    event: str
    posted: str
    result: str
    answer: str
    redrawn: str


async def create(state: State) -> State:
    return {"created": "in_progress"}


async def read(state: State) -> State:
    event = interrupt("event")
    woken_at[state["run"]] = time.perf_counter()
    return {"event": event}


async def hand_in(state: State) -> State:
    """The last of the loop: what the person says is sent as it is."""
    return {"answer": interrupt("person")}


async def post(state: State) -> State:
    return {"posted": "posted"}


async def execute(state: State) -> State:
    return {"result": interrupt("person")}


async def send(state: State) -> State:
    return {"answer": state["result"]}


async def redraw(state: State) -> State:
    return {"redrawn": "redrawn"}


NODES: Final = {
    games.LOOP.name: (create, read, hand_in),
    games.JOB.name: (create, read, post, execute, send, redraw),
}


def graph(game: str, saver: BaseCheckpointSaver[str]) -> Any:
    """Its nodes one after the other."""
    builder, nodes = StateGraph(State), NODES[game]
    for node in nodes:
        builder.add_node(node.__name__, node)
    for edge in itertools.pairwise((START, *(node.__name__ for node in nodes), END)):
        builder.add_edge(*edge)
    return builder.compile(checkpointer=saver)


class LangGraph:
    """Implements `player.Engine`."""

    def __init__(self, game: str, saver: BaseCheckpointSaver[str], about: str) -> None:
        self._graph = graph(game, saver)
        self.about = about

    async def one(self) -> float:
        run = str(uuid.uuid4())
        await self._go(run, {"run": run}, "event")
        happened = time.perf_counter()
        await self._go(run, Command(resume="requires_action"), "person")
        done = await self._go(run, Command(resume="approved"), None)
        if (done["event"], done["answer"]) != ("requires_action", "approved"):
            raise RuntimeError(f"the run ended as {done}")
        return woken_at.pop(run) - happened

    async def _go(self, run: str, given: Any, until: str | None) -> Any:
        """Play on until the run waits for that, or to its end."""
        config = {"configurable": {"thread_id": run}}
        state = await self._graph.ainvoke(given, config, durability="sync")
        waits = [i.value for i in state.get("__interrupt__", ())]
        if waits != ([] if until is None else [until]):
            raise RuntimeError(f"the run waits for {waits}, not for {until}")
        return state


@asynccontextmanager
async def opened(url: str, game: str) -> AsyncIterator[LangGraph]:
    """LangGraph with the checkpointer for that database."""
    async with _sqlite(url, game) if url.startswith("sqlite") else _postgres(url, game) as engine:
        yield engine


@asynccontextmanager
async def _sqlite(url: str, game: str) -> AsyncIterator[LangGraph]:
    async with aiosqlite.connect(url.partition("///")[2]) as conn:
        await conn.execute("PRAGMA synchronous=FULL")
        saver = AsyncSqliteSaver(conn)
        await saver.setup()
        mode = [await (await conn.execute(f"PRAGMA {p}")).fetchone() for p in ("journal_mode", "synchronous")]
        kept = ", ".join(str(row[0]) for row in mode if row)
        yield LangGraph(game, saver, _about("sqlite", f"AsyncSqliteSaver, journal and synchronous {kept}"))


@asynccontextmanager
async def _postgres(url: str, game: str) -> AsyncIterator[LangGraph]:
    made = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pool: AsyncConnectionPool[AsyncConnection[DictRow]] = AsyncConnectionPool(
        url, min_size=CONNECTIONS, max_size=CONNECTIONS, kwargs=made, open=False
    )
    async with pool:
        saver = AsyncPostgresSaver(pool)
        await saver.setup()
        yield LangGraph(game, saver, _about("postgres", f"AsyncPostgresSaver, {CONNECTIONS} connections"))


def _about(database: str, setup: str) -> str:
    package = f"langgraph-checkpoint-{database}"
    return f"{version('langgraph')} with {package} {version(package)}: durability sync, {setup}"


if __name__ == "__main__":
    player.main(opened, uvloop.run)
