"""`.deploy/Dockerfile`, `.dockerignore` and the health check, read as a builder reads them."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from deploy_kit import (
    BUILD,
    DEPLOY,
    FINAL,
    PROBES,
    ROOT,
    VERSION,
    documents,
    instructions,
    known_variables,
    ours,
    parse,
    said,
)

HEALTHCHECK: Final = DEPLOY / "healthcheck.py"
USER: Final = "10001:10001"


def variables(stage: list[tuple[str, str]]) -> dict[str, str]:
    return dict(pair.split("=", 1) for rest in said(stage, "ENV") for pair in rest.split())


def tags() -> Iterator[tuple[str, str]]:
    """Every image the kit names, and its tag."""
    for file in DEPLOY.rglob("*.yaml"):
        for image in re.findall(r"^\s*image: (\S+)", file.read_text(), re.MULTILINE):
            name, _, tag = image.partition(":")
            yield name, tag
    for image in documents(DEPLOY / "kubernetes" / "kustomization.yaml")[0]["images"]:
        yield image["name"], image["newTag"]
    yield "python", dict(r.split("=", 1) for w, r in instructions() if w == "ARG")["PYTHON"]


def sent(path: str) -> bool:
    """Whether .dockerignore lets a file through: the last line that fits it or a folder above it decides."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = re.escape(line.removeprefix("!")).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
        above = [path, *(str(p) for p in Path(path).parents if str(p) != ".")]
        if any(re.fullmatch(pattern, p) for p in above):
            out = not line.startswith("!")
    return not out


def test_hadolint_is_quiet() -> None:
    if shutil.which("hadolint") is None:
        pytest.skip("hadolint is not on this machine")
    done = subprocess.run(["hadolint", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_image_has_a_version_and_ours_has_the_programs() -> None:
    found = set(tags())
    assert {name for name, _ in found} == {"gemini-orchestrator", "postgres", "python"}
    for name, tag in found:
        assert tag, name
        assert tag != "latest", name
        assert name != "gemini-orchestrator" or tag == VERSION


def test_what_builds_stays_behind() -> None:
    (copied,) = (rest for rest in said(FINAL, "COPY") if "--from=build" in rest)
    assert copied == "--from=build /opt/orchestrator /opt/orchestrator"
    assert not re.search(r"\bpip\b|\bapt\b|\bapt-get\b|\bcurl\b", " ".join(said(FINAL, "RUN")))
    assert (
        said(FINAL, "FROM")[0].split()[0] == said(BUILD, "FROM")[0].split()[0]
    )  # the same Python under both


def test_everything_installed_is_a_wheel_of_a_known_hash() -> None:
    installs = re.findall(r"pip (?:--python \S+ )?install ([^&]*)", " ".join(said(BUILD, "RUN")))
    assert len(installs) == 3
    for line in installs[:2]:
        assert "--require-hashes" in line
        assert "--only-binary=:all:" in line
    assert installs[2].split()[:2] == ["--no-deps", "--no-index"]


def test_the_lock_it_installs_is_the_services_with_postgresql() -> None:
    def lock(name: str) -> set[str]:
        return set(
            re.findall(r"^([\w.-]+==[^ \\]+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE)
        )

    assert lock("app.txt") <= lock("postgres.txt") <= lock("dev.txt")
    extra = {pin.partition("==")[0] for pin in lock("postgres.txt") - lock("app.txt")}
    assert {"psycopg", "psycopg-binary", "pgqueuer"} <= extra


def test_it_runs_as_a_number_that_is_not_root() -> None:
    assert said(FINAL, "USER") == [USER]
    assert FINAL.index(("USER", USER)) > max(i for i, (w, _) in enumerate(FINAL) if w in ("RUN", "COPY"))
    compose = documents(DEPLOY / "compose.yaml")[0]["services"]
    assert {compose[name]["user"] for name in ("migrate", "web", "worker")} == {USER}
    for file in ("web.yaml", "worker.yaml", "migrate.yaml"):
        context = documents(DEPLOY / "kubernetes" / file)[0]["spec"]["template"]["spec"]["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == USER


def test_signals_reach_our_program() -> None:
    entrypoint, command = (json.loads(said(FINAL, word)[0]) for word in ("ENTRYPOINT", "CMD"))
    assert entrypoint == ["orchestrator"]
    assert parse(command).command.name == "serve"
    assert said(FINAL, "STOPSIGNAL") == ["SIGTERM"]


def test_our_settings_know_its_variables() -> None:
    environ = variables(FINAL)
    assert set(ours(environ)) <= known_variables()
    assert environ["ORCHESTRATOR_SERVER__PORT"] == said(FINAL, "EXPOSE")[0]
    # With one here, DATABASE_URL_FILE would be refused: only one of the two may be set.
    assert "DATABASE_URL" not in environ


def test_an_sqlite_file_lies_in_a_volume_of_its_user() -> None:
    assert json.loads(said(FINAL, "VOLUME")[0]) == said(FINAL, "WORKDIR") == ["/data"]
    assert "install -d -o 10001 -g 10001 -m 0750 /data" in " ".join(said(FINAL, "RUN"))


def test_everything_copied_is_sent_to_the_builder() -> None:
    copies = [rest.split() for rest in said(BUILD, "COPY") + said(FINAL, "COPY") if "--from" not in rest]
    sources = {source for words in copies for source in words[:-1]}
    assert {"orchestrator", "migrations", "tools", ".deploy/healthcheck.py"} <= sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert sent(source), source
        assert sent(f"{source}/module.py"), source


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".git/config",
        ".deploy/secrets/gemini_api_key",
        ".venv/bin/python",
        "config.yaml",
        "orchestrator.db",
        "orchestrator/__pycache__/app.cpython-313.pyc",
        "tests/conftest.py",
        "tools/.env.local",
        "tools/orders.db-wal",
    ],
)
def test_nothing_else_is_sent_to_the_builder(path: str) -> None:
    assert not sent(path)


# --- the health check itself -----------------------------------------------------------


def check(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", HEALTHCHECK, *args], env=environ, capture_output=True, text=True, check=False
    )


@contextmanager
def door(status: int) -> Iterator[str]:
    """A door on this machine that answers /healthz with `status`, and anything else with 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Not into the test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield str(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_image_is_asked_at_a_door_we_have() -> None:
    (line,) = said(FINAL, "HEALTHCHECK")
    asked = yaml.safe_load(line.partition("CMD ")[2])
    assert asked == ["python", "-I", "/opt/orchestrator/healthcheck.py"]
    assert f"COPY .deploy/healthcheck.py {asked[-1]}" in (DEPLOY / "Dockerfile").read_text()
    assert "/healthz" in PROBES


def test_a_service_that_answers_is_well() -> None:
    with door(200) as port:
        done = check(ORCHESTRATOR_SERVER__PORT=port, http_proxy="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_service_that_complains_is_not() -> None:
    with door(503) as port:
        done = check(ORCHESTRATOR_SERVER__PORT=port)
    assert (done.returncode, done.stderr) == (1, f"port {port}: status 503\n")


def test_a_service_that_is_gone_is_not() -> None:
    with door(200) as port:
        pass
    done = check(ORCHESTRATOR_SERVER__PORT=port)
    assert (done.returncode, done.stderr) == (1, f"port {port}: ConnectionRefusedError\n")


def test_a_worker_is_as_well_as_its_pulse_is_young(tmp_path: Path) -> None:
    pulse = tmp_path / "pulse"
    missing = check(str(pulse))
    pulse.touch()
    young = check(str(pulse))
    os.utime(pulse, (time.time() - 90, time.time() - 90))
    old = check(str(pulse))
    assert (missing.returncode, missing.stderr) == (1, f"{pulse}: No such file or directory\n")
    assert (young.returncode, young.stderr) == (0, "")
    assert old.returncode == 1
    assert re.fullmatch(rf"{pulse}: not touched for 9\d seconds\n", old.stderr)
