"""Whether the container is well: exit code 0, else 1 and one line that says why.

`healthcheck.py` asks /healthz of the service beside it; `healthcheck.py FILE` looks whether a worker
still touches FILE. Standard library only: it runs every few seconds, and imports are what would cost.
"""

import http.client
import os
import sys
import time

PATIENCE_SECONDS = 4.0
STALE_SECONDS = 60.0


def trouble_at_door() -> str:
    """What is wrong with the service on this machine's port, nothing if it answers."""
    port = int(os.environ.get("ORCHESTRATOR_SERVER__PORT") or 8080)
    # Not urllib: that would go by way of a proxy the environment names.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as e:
        return f"port {port}: {type(e).__name__}"
    finally:
        connection.close()
    return "" if status == http.client.OK else f"port {port}: status {status}"


def trouble_at_pulse(file: str) -> str:
    """What is wrong with the file a worker touches, nothing if that was lately."""
    try:
        age = time.time() - os.stat(file).st_mtime
    except OSError as e:
        return f"{file}: {e.strerror}"
    return "" if age <= STALE_SECONDS else f"{file}: not touched for {age:.0f} seconds"


if __name__ == "__main__":
    # Any text at all, even an empty one, would be an exit code of 1.
    sys.exit((trouble_at_pulse(sys.argv[1]) if sys.argv[1:] else trouble_at_door()) or None)
