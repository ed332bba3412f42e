"""A test's own port is nobody else's, also while nobody listens there."""

import subprocess
import sys
from pathlib import Path

import pytest
from support import ports

SUPPORT = Path(ports.__file__).parent
FROM_THESE = """
import sys
sys.path.insert(0, {support!r})
import ports
ports.PORTS = {those!r}
print(ports.own_port())
"""


def elsewhere(those: list[int]) -> str:
    """What another process is given of those, or its complaint."""
    code = FROM_THESE.format(support=str(SUPPORT), those=those)
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return told.stdout.strip() or told.stderr.splitlines()[-1]


def test_no_port_is_given_twice_here_or_to_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = ports.own_port()
    monkeypatch.setattr(ports, "PORTS", [mine])
    with pytest.raises(RuntimeError, match="no free port"):
        ports.own_port()
    assert elsewhere([mine]) == f"RuntimeError: no free port in [{mine}]"
