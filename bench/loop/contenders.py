"""Who plays: our engine in this environment, the peers in one of their own; each time a new process."""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.loop.databases import Counted, Server
from bench.loop.games import GAMES, LOOP
from bench.loop.player import Played

ROOT: Final = Path(__file__).parents[2]
HOME: Final = ROOT / ".venv-bench"
LOCKED: Final = ROOT / "requirements" / "bench.txt"
TRACED: Final = ("strace", "-f", "--seccomp-bpf", "-c", "-e", "trace=fsync,fdatasync", "-o")


@dataclass(frozen=True, slots=True)
class Contender:
    """Who plays.

    Args:
        bars: By database how many times as fast ours is to be in the loop; only peers have them.
        games: What it plays.
    """

    name: str
    module: str
    bars: dict[str, float] | None = None
    games: tuple[str, ...] = tuple(GAMES)

    @property
    def python(self) -> str:
        return sys.executable if self.bars is None else str(HOME / "bin" / "python")


CONTENDERS: Final = (
    Contender("ours", "bench.loop.ours"),
    Contender("rows", "bench.loop.plain", games=(LOOP.name,)),
    Contender("langgraph", "bench.loop.langgraph_peer", {"sqlite": 8.0, "postgresql": 3.0}),
    Contender("dbos", "bench.loop.dbos_peer", {"sqlite": 10.0, "postgresql": 4.0}),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run, without what it took to set up. None where nobody counts."""

    commits: float | None
    fsyncs: float | None


def prepare() -> None:
    """Make the peers' environment, or renew it when the locked versions changed."""
    stamp, wanted = HOME / ".locked", hashlib.sha256(LOCKED.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(HOME, ignore_errors=True)
    print(f"installing the peers into {HOME.name}", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "venv", HOME], check=True)
    install = ["-m", "pip", "--disable-pip-version-check", "-q", "install", "--require-hashes", "-r"]
    subprocess.run([str(HOME / "bin" / "python"), *install, str(LOCKED)], check=True)
    stamp.write_text(wanted)


def play(
    contender: Contender, game: str, url: str, options: Sequence[str], before: Sequence[str] = ()
) -> Played:
    """A game in a new process; what it says beside its result is shown.

    Raises:
        RuntimeError: It ended without a result.
    """
    program = [contender.python, "-m", contender.module, "--game", game, "--database", url]
    command = [*before, *program, *options]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{contender.name} ended its {game} with {done.returncode}")
    return Played(**json.loads(done.stdout.splitlines()[-1]))


def cost(contender: Contender, game: str, server: Server, runs: int, in_flight: int) -> Cost:
    """Commits and fsyncs of a run: those of a game, less those of one without a run."""
    none, some = (_counted(contender, game, server, number, in_flight) for number in (0, runs))
    return Cost(_share(none.commits, some.commits, runs), _share(none.fsyncs, some.fsyncs, runs))


def _share(none: int | None, some: int | None, runs: int) -> float | None:
    return None if none is None or some is None else (some - none) / runs


def _counted(contender: Contender, game: str, server: Server, runs: int, in_flight: int) -> Counted:
    options = ["--runs", str(runs), "--warm", "0", "--wakes", "0", "--in-flight", str(in_flight)]
    with server.fresh() as url:
        if url.startswith("sqlite"):
            return _traced(contender, game, url, options)
        before = server.counted(url)
        play(contender, game, url, options)
        after = server.counted(url)
    return Counted(
        None if after.commits is None or before.commits is None else after.commits - before.commits,
        None if after.fsyncs is None or before.fsyncs is None else after.fsyncs - before.fsyncs,
    )


def _traced(contender: Contender, game: str, url: str, options: Sequence[str]) -> Counted:
    """Under strace, where the machine has one."""
    if shutil.which(TRACED[0]) is None:
        return Counted(play(contender, game, url, options).commits, None)
    with tempfile.NamedTemporaryFile("r", suffix=".strace") as table:
        played = play(contender, game, url, options, (*TRACED, table.name))
        return Counted(played.commits, _calls(table.read()))


def _calls(table: str) -> int:
    """Of all lines of strace's table but the total: share, seconds, µs a call, calls, errors if any, name."""
    rows = [line.split() for line in table.splitlines()]
    return sum(int(row[3]) for row in rows if row and row[-1] in ("fsync", "fdatasync"))
