"""The service on a clock that the demo moves: `python -m orchestrator.cli.shifted FILE`.

FILE says by how many seconds this clock is ahead of the computer's; SIGUSR1 has it read anew.
"""

import asyncio
import signal
import sys
from datetime import datetime, timedelta
from pathlib import Path

from orchestrator import telemetry
from orchestrator.app import Service, now
from orchestrator.running import serve
from orchestrator.settings import load


class Shifted:
    """The computer's time and a lead."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.read()

    def read(self) -> None:
        self._lead = timedelta(seconds=float(self._file.read_text()))

    def __call__(self) -> datetime:
        return now() + self._lead


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    clock = Shifted(Path(sys.argv[1]))
    settings = load(None)
    telemetry.configure(settings.log.level, settings.log.format)

    def built(service: Service) -> None:
        async def listen() -> None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, moved)

        def moved() -> None:
            clock.read()
            if service.worker is not None:
                service.worker.clock_moved()

        service.web.on_startup.append(listen)

    serve(settings, clock=clock, built=built)


if __name__ == "__main__":
    main()
