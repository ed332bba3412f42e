"""Processes: what serves, what works, how each starts and ends."""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
import uvicorn
import uvloop

from orchestrator.advice import advise
from orchestrator.app import Role, Service, build, now
from orchestrator.engine.ports import Clock
from orchestrator.errors import ConfigError, UnavailableError
from orchestrator.opening import failures_told, opened
from orchestrator.settings import Settings
from orchestrator.store import migrate
from orchestrator.store.database import Database
from orchestrator.web.framing import Framing
from orchestrator.web.stream import ENDLESS

log = structlog.get_logger(__name__)

YOUNG = 50_000
"""New objects, less those that are gone, before the collector looks at them; Python's own are 700."""
FLUSH_SECONDS = 1.0
"""How long a stream that was ended may take to reach its client, when the service stops."""


class Server(uvicorn.Server):
    """uvicorn waits for open answers before it leaves the lifespan, and a stream has no end by itself.

    Args:
        stopping: Called when no new connections are taken any more.
    """

    servers: list[asyncio.base_events.Server]  # uvicorn's own, once it listens

    def __init__(self, config: uvicorn.Config, *, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Says where it listens once it does: with port 0 nobody could know before."""
        await super().startup(sockets)
        for listener in (s for server in self.servers for s in server.sockets):
            host, port = listener.getsockname()[:2]
            log.info("listening", host=host, port=port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()
        cut = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._cut_off)
        try:
            await super().shutdown(sockets)
        finally:
            cut.cancel()

    def _cut_off(self) -> None:
        """A stream that is still open has a client that does not read: its last bytes go nowhere."""
        for connection in list(self.server_state.connections):
            cycle = getattr(connection, "cycle", None)
            if cycle is not None and cycle.scope["state"].get(ENDLESS):
                connection.transport.abort()


def serve(
    settings: Settings,
    role: Role = Role.ALL,
    *,
    clock: Clock | None = None,
    built: Callable[[Service], None] = lambda service: None,
) -> None:
    """Answer requests, and work too unless others do, until SIGTERM or SIGINT.

    Everything is checked before the port opens.

    Args:
        built: Called with the service before it starts.
    """
    with _ready(settings) as database:
        service = build(settings, database, role=role, clock=clock)
        built(service)
        server = Server(_config(settings, service), stopping=service.changes.stop)
        quieten()
        log.info("serving", role=role)
        run(server)


def work(settings: Settings, pulse: Path | None = None) -> None:
    """Work, without answering anybody, until SIGTERM or SIGINT.

    Args:
        pulse: A file that is touched while the worker goes round, for who watches over it.
    """
    with _ready(settings) as database:
        service = build(settings, database, role=Role.WORKER, beat=_beat(pulse))
        quieten()
        log.info("working", slots=settings.work.slots)
        uvloop.run(_until_stopped(service))


def quieten() -> None:
    """Let the garbage collector leave alone what is loaded by now, and come less often for the rest.

    It took a tenth of the processor time. What is in no circle is freed without it, and that is nearly all.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 50)


@contextmanager
def _ready(settings: Settings) -> Iterator[Database]:
    for line in advise(settings, now()):
        log.warning("setting_to_look_at", setting=line)
    with opened(settings) as database:
        if database.made:  # of a misspelt name, too: whoever looks for the runs of before finds out here
            log.warning("database_made", file=str(Path(database.url.database or "").absolute()))
        with failures_told(settings):
            _made_sure(database)
        yield database


def _made_sure(database: Database) -> None:
    if database.sqlite:
        migrate.upgrade(database.engine)
    migrate.require_current(database.engine)
    if not database.durable():
        raise ConfigError("database: commits do not wait for the disk (synchronous_commit is off)")


def _config(settings: Settings, service: Service) -> uvicorn.Config:
    return uvicorn.Config(
        service.web,
        host=settings.server.host,
        port=settings.server.port,
        loop="uvloop",
        http=Framing,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here goes by the caller's address
        timeout_graceful_shutdown=max(1, round(settings.server.graceful_seconds)),
        lifespan="on",
    )


def _beat(pulse: Path | None) -> Callable[[], None]:
    def touch() -> None:
        if pulse is not None:
            try:
                pulse.touch()
            except OSError as e:
                log.warning("pulse_not_written", file=str(pulse), why=e.strerror)

    return touch


async def _until_stopped(service: Service) -> None:
    asked = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, asked.set)
    async with service.lifespan(service.web):
        await asked.wait()
        log.info("stopping")


def run(server: uvicorn.Server) -> None:
    """Until a signal. uvicorn raises it once more when it has stopped; a clean end is ours to report as 0.

    One that comes before uvicorn listens for signals counts, too.

    Raises:
        UnavailableError: The service did not come up, such as on a full disk.
        ConfigError: The address cannot be had.
    """

    def asked(*_: object) -> None:
        server.should_exit = True

    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, asked)
    with suppress(SystemExit):  # a start that failed; `server.started` is still unset then
        server.run()
    if not server.started:
        if server.lifespan.should_exit:
            raise UnavailableError("the start failed, and may work later; the lines above say why")
        where = f"{server.config.host}:{server.config.port}"
        raise ConfigError(
            f"server: could not listen on {where}, as the line above says; server.port takes another port"
        )
