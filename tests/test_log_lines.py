"""Who reads our log line by line, as JSON, can read the libraries' lines as well."""

import json
import subprocess
import sys

SAID = """
import logging, warnings
import structlog
from orchestrator import telemetry
telemetry.configure("info", "{form}")
structlog.get_logger("ours").info("serving", role="all")
logging.getLogger("uvicorn.error").warning("Invalid %s request\\nreceived.", "HTTP")
logging.getLogger("httpx").info("GET https://example.com/?key=1")
try:
    {{}}["gone"]
except KeyError:
    logging.getLogger("asyncio").exception("Task exception was never retrieved")
warnings.warn("an old thing", UserWarning)
"""


def said(form: str) -> str:
    script = [sys.executable, "-c", SAID.format(form=form)]
    return subprocess.run(script, capture_output=True, text=True, timeout=100, check=True).stderr


def test_each_line_is_json_whoever_says_it() -> None:
    lines = [json.loads(line) for line in said("json").splitlines()]
    assert [(line["level"], line.get("logger")) for line in lines] == [
        ("info", None),
        ("warning", "uvicorn.error"),
        ("error", "asyncio"),
        ("warning", "py.warnings"),
    ]
    assert lines[1]["event"] == "Invalid HTTP request\nreceived."
    assert "KeyError: 'gone'" in lines[2]["exception"]
    assert "an old thing" in lines[3]["event"]
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_for_people_the_libraries_speak_as_they_do() -> None:
    told = said("console")
    assert "WARNING:uvicorn.error:Invalid HTTP request\nreceived." in told
    assert "example.com" not in told
