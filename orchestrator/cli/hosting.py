"""How the demo runs the service: as a process of its own, as it is deployed."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Protocol


class Hosted(Protocol):
    """The service, while it runs."""

    @property
    def ended(self) -> bool:
        """Whether it is gone, though nobody has stopped it."""
        ...

    def moved(self, lead: timedelta) -> None:
        """From now on its clock is so far ahead; only of one that was started with a lead."""
        ...


Host = Callable[[Mapping[str, str], Path, timedelta | None], AbstractAsyncContextManager[Hosted]]
"""Runs the service in an environment, with a folder for its log, and its clock ahead by that if given."""


class OwnProcess:
    """Implements `Hosted`."""

    def __init__(self, process: asyncio.subprocess.Process, lead_file: Path) -> None:
        self._process, self._lead_file = process, lead_file

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    def moved(self, lead: timedelta) -> None:
        self._lead_file.write_text(str(lead.total_seconds()))
        self._process.send_signal(signal.SIGUSR1)


@asynccontextmanager
async def own_process(
    environ: Mapping[str, str], folder: Path, lead: timedelta | None
) -> AsyncIterator[Hosted]:
    """`orchestrator serve`, with its log in the folder; stopped as SIGTERM does."""
    words, lead_file = ["orchestrator", "serve"], folder / "lead"
    if lead is not None:
        lead_file.write_text(str(lead.total_seconds()))
        words = ["orchestrator.cli.shifted", str(lead_file)]
    with (folder / "service.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *words, env=dict(environ), stdout=log, stderr=log
        )
    try:
        yield OwnProcess(process, lead_file)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
