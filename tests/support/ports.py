"""Loopback ports of a test's own, for a service that is started there a moment later, or a second time.

Below those the system hands out by itself: while nobody listens there, a connection attempt could
otherwise take the port, even by meeting itself. And claimed until this process ends, in a file that all
test processes of this user share: two that only looked who listens found the same port free.
"""

import fcntl
import os
import secrets
import socket
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

PORTS: Final = range(20_000, 32_000)

_given: Final[set[int]] = set()
"""By this process: the system holds a process's locks against others only."""


def own_port() -> int:
    """A port nobody listens on, and that no other call gives, here or in another process."""
    for port in secrets.SystemRandom().sample(PORTS, len(PORTS)):
        if port not in _given and _claimed(port) and _quiet(port):
            _given.add(port)
            return port
    raise RuntimeError(f"no free port in {PORTS}")


@cache
def _claims() -> int:
    """Of a port, the byte of that number; open as long as the process, because to close it gives all back."""
    file = Path(tempfile.gettempdir()) / f"orchestrator-ports-{os.getuid()}"
    return os.open(file, os.O_WRONLY | os.O_CREAT, 0o644)


def _claimed(port: int) -> bool:
    try:
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except (BlockingIOError, PermissionError):  # it is another's; which of the two depends on the system
        return False
    return True


def _quiet(port: int) -> bool:
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
