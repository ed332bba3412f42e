"""Values are read by several threads from the first moment on."""

import subprocess
import sys

STORY = """
import os, sys, threading
import msgspec
from orchestrator.domain.consent import Terms, Verdict
from orchestrator.domain.model import Recipe
from orchestrator.store import runs

sys.setswitchinterval(1e-6)
STORED = (
    (Recipe, {"workflow": "shop", "terms": {"approvers": ["U1"]}}),
    (Terms, {"approvers": [], "stages": [{"name": "risk", "approvers": ["U1"]}]}),
    (Verdict, {"approve": True, "by": {"id": "U1"}, "at": "2026-01-01T00:00:00Z"}),
)

def life():
    together = threading.Barrier(8)

    def read():
        together.wait()
        for kind, value in STORED:
            msgspec.convert(value, kind)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

for _ in range(8):
    if not (pid := os.fork()):
        life()
        os._exit(0)
    if ended := os.waitpid(pid, 0)[1]:
        sys.exit(f"ended with {ended}")
"""


def test_many_threads_read_their_first_rows_at_once() -> None:
    """Seen: the process ended with SIGSEGV right after its start, inside the library."""
    command = [sys.executable, "-c", STORY]
    told = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, told.stderr
