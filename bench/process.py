"""A server as a process of its own, and what it costs."""

import asyncio
import os
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

READY_SECONDS = 30.0
WARM_SECONDS = 4.0
"""The client library is imported behind the open port; measuring begins after that."""
TOKEN = "bench-token-0123456789"
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def environment(folder: Path, port: int, gemini: str, slack: str) -> dict[str, str]:
    """Variables for the service under test; the config is the repository's own."""
    return {
        k: v for k, v in os.environ.items() if not k.startswith(("ORCHESTRATOR_", "GEMINI_", "SLACK_"))
    } | {
        "GEMINI_API_KEY": "bench",
        "GEMINI_WEBHOOK_SECRETS": SECRET,
        "SLACK_BOT_TOKEN": "xoxb-local",
        "SLACK_SIGNING_SECRET": "local-signing-secret",
        "ORCHESTRATOR_API_TOKEN": TOKEN,
        "DATABASE_URL": f"sqlite:///{folder / 'bench.db'}",
        "ORCHESTRATOR_GEMINI__BASE_URL": gemini,
        "ORCHESTRATOR_SLACK__API_URL": f"{slack}/api/",
        "ORCHESTRATOR_SLACK__BURST": "1000",
        "ORCHESTRATOR_SLACK__RESPONSE_URL_HOSTS": "127.0.0.1",
        "ORCHESTRATOR_SERVER__PORT": str(port),
        "ORCHESTRATOR_LOG__LEVEL": "error",
        # One caller and the same approvers ask and are asked a thousand times here.
        "ORCHESTRATOR_API__RATE_LIMIT_PER_MINUTE": "1000000",
        "ORCHESTRATOR_APPROVALS__MAX_OPEN_PER_APPROVER": "10000",
    }


@asynccontextmanager
async def started(arguments: list[str], env: Mapping[str, str], probe: str) -> AsyncIterator[int]:
    """Run `python ARGUMENTS` until the block ends; yields its pid once `probe` answers at all."""
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=dict(env))
    try:
        async with asyncio.timeout(READY_SECONDS):
            while not await asyncio.to_thread(_answers, probe):
                if process.returncode is not None:
                    raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}")
                await asyncio.sleep(0.05)
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=1):  # noqa: S310  our own loopback server
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def cpu_seconds(pid: int) -> float:
    """Processor time the process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Memory the process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS")
