"""Where the laboratory's processes are born: everything is imported once, and each start is a fork.

Two seconds of a start are imports, and the laboratory starts some hundreds of processes. The cradle is
a process of this file's own, one for each test process: it imports what the service will need, keeps to
one thread, and forks a child for each command. The child runs `python -m orchestrator …` from there to
the end of its interpreter, under its own pid, with its own environment, folder and log. What is read
while modules are imported is the one thing that it shares with others.

The test's side asks in JSON lines on the cradle's standard input and is answered on its standard output:
`{"pid": …}` for a birth, `{"pid": …, "code": …}` for an end (a negative number is a signal's).
"""

import asyncio
import atexit
import ctypes
import gc
import importlib
import json
import os
import random
import runpy
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

AVAILABLE = sys.platform == "linux"
"""Elsewhere libraries may mind a fork, and nothing ends a child whose cradle is gone."""

START_SECONDS = 120.0
"""How long the imports may take on a busy machine."""

NEEDED = (
    "orchestrator.cli",
    "orchestrator.running",
    "orchestrator.jobs.library",
    "alembic.command",
    "anyio._backends._asyncio",
    "cel_expr_python.cel",
    "google.genai",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "slack_sdk.web.async_client",
    "uvicorn.loops.uvloop",
)
"""What the service imports when it needs it, and what it begins with."""

# --- the test's side ------------------------------------------------------------------------------


class Child:
    """A process, with what the laboratory uses of `asyncio.subprocess.Process`; belongs to no loop."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._end: Future[int] = Future()
        self._end.set_running_or_notify_cancel()  # whoever gives up waiting does not take it from others

    @property
    def returncode(self) -> int | None:
        return self._end.result() if self._end.done() else None

    def ended(self, code: int) -> None:
        self._end.set_result(code)

    async def wait(self) -> int:
        return await asyncio.wrap_future(self._end)

    def send_signal(self, sign: int) -> None:
        if not self._end.done():
            with suppress(ProcessLookupError):  # its end is on the way to us
                os.kill(self.pid, sign)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Cradle:
    """The cradle's process, seen from the test; it ends with this one, and its children with it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environ,
            start_new_session=True,  # a Ctrl-C is for the test
        )
        self._asking = threading.Lock()
        self._births: list[Future[Child]] = []
        threading.Thread(target=self._listen, daemon=True).start()
        atexit.register(self.close)

    def bear(
        self,
        words: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        module: str = "orchestrator",
    ) -> Child:
        """Start `python -m orchestrator` with these words; what it says is appended to `log`."""
        birth: Future[Child] = Future()
        told = {"words": words, "env": dict(env), "cwd": str(cwd), "log": str(log), "module": module}
        asked = json.dumps(told)
        assert self._process.stdin is not None
        with self._asking:
            self._births.append(birth)
            self._process.stdin.write(asked.encode() + b"\n")
            self._process.stdin.flush()
        return birth.result(START_SECONDS)

    def _listen(self) -> None:
        children: dict[int, Child] = {}
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            if "code" in told:
                children.pop(told["pid"]).ended(told["code"])
            else:
                child = children[told["pid"]] = Child(told["pid"])
                self._births.pop(0).set_result(child)
        for birth in self._births:
            birth.set_exception(RuntimeError("the cradle has ended; its words are on standard error"))

    def close(self) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it ended first, and whoever asked it was told
            self._process.stdin.close()
        self._process.wait(30)


@cache
def cradle() -> Cradle:
    """The one of this test process. Its own environment has nothing that concerns the service."""
    foreign = ("GEMINI_", "GOOGLE_", "SLACK_", "ORCHESTRATOR_", "DATABASE_URL", "LAB_")
    return Cradle({k: v for k, v in os.environ.items() if not k.startswith(foreign)})


# --- the cradle's side ----------------------------------------------------------------------------


@dataclass
class Ward:
    """The cradle at work.

    Args:
        requests, answers: Descriptors of the two pipes.
    """

    requests: int
    answers: int
    unread: bytes = b""
    living: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._pid = os.getpid()
        self._prctl = ctypes.CDLL(None).prctl
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK)

    def first_child(self) -> dict[str, Any] | None:
        """Serve; returns in each child with its request, and with `None` in the cradle when that ends."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake)
        for request in self._asked():
            sys.stdout.flush()
            sys.stderr.flush()
            pid = os.fork()
            if pid == 0:
                self._leave()
                return request
            self.living.add(pid)
            self._answer(pid=pid)
        for pid in self.living:
            os.kill(pid, signal.SIGKILL)
        return None

    def _asked(self) -> Iterator[dict[str, Any]]:
        """The requests; between them the dead are reported."""
        while True:
            ready, _, _ = select.select([self.requests, self._woken], [], [])
            if self._woken in ready:
                os.read(self._woken, 4096)
                self._reap()
            if self.requests in ready:
                more = os.read(self.requests, 65536)
                if not more:
                    return
                *lines, self.unread = (self.unread + more).split(b"\n")
                yield from map(json.loads, lines)

    def _reap(self) -> None:
        while self.living:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self.living.remove(pid)
            self._answer(pid=pid, code=os.waitstatus_to_exitcode(status))

    def _answer(self, **told: int) -> None:
        os.write(self.answers, json.dumps(told).encode() + b"\n")

    def _leave(self) -> None:
        """In the child: nothing of the cradle's is kept, and its end is the child's end."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in (self.requests, self.answers, self._woken, self._wake):
            os.close(descriptor)
        self._prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, <linux/prctl.h>
        if os.getppid() != self._pid:
            os._exit(1)


def _become(request: Mapping[str, Any]) -> None:
    """Make this process what `python -m orchestrator` would find itself in."""
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path[0] = request["cwd"]
    sys.argv = ["orchestrator", *request["words"]]
    importlib.reload(importlib.import_module("orchestrator.failpoints"))
    random.seed()


def _unfold() -> None:
    """Libraries that import on first use are used once, so far as nothing is opened or sent by it."""
    client = importlib.import_module("google.genai").Client(api_key="nobodys")
    assert client.interactions
    assert client.aio.interactions
    client.close()
    # Litestar's own logging would start a thread; the service has none of it either.
    app = importlib.import_module("litestar").Litestar([], logging_config=None)
    uvicorn = importlib.import_module("uvicorn")
    uvicorn.Config(app, loop="uvloop", http="httptools", log_config=None).load()


def main() -> None:
    """Import, then be the cradle; a child goes on as the command it was born for, to its natural end."""
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    for name in NEEDED:
        importlib.import_module(name)
    _unfold()
    threads = os.listdir("/proc/self/task")
    assert len(threads) == 1, f"forked with {len(threads)} threads a child would lack their locks' owners"
    gc.collect()
    gc.freeze()
    request = Ward(requests, answers).first_child()
    if request is not None:
        _become(request)
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
