"""`python -m bench`: every short measurement, one after another; `python -m bench all`: every one.

Run it on a machine that does nothing else. What `all` prints is written to bench/results/ too; the loop
beside its peers writes its own page there.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = Path(__file__).parent / "results"
SHORT: Final[dict[str, list[str]]] = {
    name: [name] for name in ("intake", "wakeup", "client", "waiting", "polling", "clicks")
}
LONG: Final[dict[str, list[str]]] = {
    "waiting-100000": ["waiting", "--runs", "100000"],
    "waiting-100000-postgresql": ["waiting", "--runs", "100000", "--database", "postgresql"],
    "growth": ["growth", "--full"],
    "films": ["films"],
    "soak": ["soak"],
    "workers": ["workers"],
    "loop": ["loop"],
    "cards": ["cards", "--out", str(RESULTS / "cards")],
}
"""By the name of the result: the program and its arguments."""


def main() -> None:
    """Print all tables; one that fails does not keep the others back."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measurements.")
    parser.add_argument("which", nargs="?", choices=["short", "all"], default="short")
    everything = parser.parse_args().which == "all"
    chosen = SHORT | LONG if everything else SHORT
    failed = [name for name, call in chosen.items() if not _measured(name, call, keep=everything)]
    if failed:
        raise SystemExit(f"without a result: {', '.join(failed)}")


def _measured(name: str, call: list[str], *, keep: bool) -> bool:
    """In a process of its own; shown line by line, and kept when it came to its end."""
    command = [sys.executable, "-m", f"bench.{call[0]}", *call[1:]]
    lines: list[str] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    print(flush=True)
    if keep and running.returncode == 0:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.txt").write_text("".join(lines))
    return running.returncode == 0


if __name__ == "__main__":
    main()
