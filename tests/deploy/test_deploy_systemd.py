"""`.deploy/systemd`: by systemd's own checks where it is at hand, and against our own program."""

import shlex
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from deploy_kit import (
    DEPLOY,
    ROOT,
    known_variables,
    longest_stop,
    ours,
    parse,
    seconds,
    settings_of,
    write_secrets,
)

from orchestrator.settings import Settings

FOLDER: Final = DEPLOY / "systemd"
PROGRAM: Final = "/opt/orchestrator/bin/orchestrator"
ALONE, WORKER = "orchestrator.service", "orchestrator-worker@.service"
EXPOSURE: Final = 15
"""Tenths, as `systemd-analyze security` counts: below 1.5 of 10."""

Unit = Mapping[str, list[str]]


def read(*names: str) -> Unit:
    """The directives of a unit and its drop-ins; an empty value takes back what stood before."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
            key, equals, value = line.partition("=")
            if not equals or line.startswith(("#", ";", "[")):
                continue
            found[key] = [*found[key], value] if value else []
    return found


UNITS: Final = {
    "alone": read(ALONE),
    "web": read(ALONE, "postgres.conf"),
    "worker": read(WORKER),
}


def loaded(unit: Unit, tmp_path: Path) -> Settings:
    """The settings as the unit would start with, its credentials in a folder here."""
    credentials = [c.split(":")[0] for c in unit["LoadCredential"]]
    write_secrets(tmp_path / "credentials", credentials)
    environ = dict(e.split("=", 1) for e in unit["Environment"])
    assert set(ours(environ)) <= known_variables()
    return settings_of(environ, ROOT / "config.yaml", mounted={"%d": tmp_path / "credentials"})


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder of units like /etc/systemd/system, with a program that exists on every machine."""
    for name, place in ((ALONE, ALONE), (WORKER, WORKER), ("postgres.conf", f"{ALONE}.d/postgres.conf")):
        target = tmp_path / "units" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text((FOLDER / name).read_text().replace(PROGRAM, shutil.which("true") or "/bin/true"))
    return tmp_path / "units"


def analyze(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on this machine")
    environ = {"SYSTEMD_UNIT_PATH": f"{folder}:", "PATH": "/usr/bin:/bin", "SYSTEMD_COLORS": "0"}
    return subprocess.run(
        ["systemd-analyze", *args], env=environ, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("name", [ALONE, WORKER])
def test_systemd_takes_it_without_a_word(name: str, installed: Path) -> None:
    done = analyze(installed, "verify", "--man=no", "--recursive-errors=no", str(installed / name))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_would_say_if_a_directive_were_misspelt(installed: Path) -> None:
    unit = installed / ALONE
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHomes="))
    done = analyze(installed, "verify", "--man=no", "--recursive-errors=no", str(unit))
    assert "ProtectHomes" in done.stderr


@pytest.mark.parametrize("name", [ALONE, WORKER])
def test_systemd_counts_little_exposure(name: str, installed: Path) -> None:
    args = ("--no-pager", "--offline=true", f"--threshold={EXPOSURE}", str(installed / name))
    done = analyze(installed, "security", *args)
    assert done.returncode == 0, done.stdout[-200:] + done.stderr


@pytest.mark.parametrize("role", UNITS)
def test_our_program_takes_the_line(role: str) -> None:
    (line,) = UNITS[role]["ExecStart"]
    program, *args = shlex.split(line)
    assert program == PROGRAM
    assert parse(args).command.name == ("worker" if role == "worker" else "serve")


@pytest.mark.parametrize("role", UNITS)
def test_our_settings_take_the_environment_and_the_credentials(role: str, tmp_path: Path) -> None:
    settings = loaded(UNITS[role], tmp_path)
    sqlite = settings.database.url.reveal().startswith("sqlite:///")
    assert sqlite == (role == "alone")
    assert settings.log.format == "json"


def test_alone_it_keeps_its_file_where_it_may_write() -> None:
    assert UNITS["alone"]["StateDirectory"] == ["orchestrator"]
    assert UNITS["alone"]["WorkingDirectory"] == ["%S/orchestrator"]
    assert "DATABASE_URL" not in " ".join(UNITS["alone"]["Environment"])


@pytest.mark.parametrize("role", UNITS)
def test_a_stop_is_asked_for_and_waited_for(role: str, tmp_path: Path) -> None:
    unit = UNITS[role]
    assert unit["KillSignal"] == ["SIGTERM"]
    assert unit["Restart"] == ["always"]
    (span,) = unit["TimeoutStopSec"]
    assert seconds(f"{span}s") >= longest_stop(loaded(unit, tmp_path))


@pytest.mark.parametrize("role", UNITS)
def test_no_secret_is_in_a_variable(role: str) -> None:
    unit = UNITS[role]
    shown = {c.split(":")[0]: c.split(":")[1] for c in unit["LoadCredential"]}
    assert shown == {name: f"/etc/orchestrator/secrets/{name}" for name in shown}
    read = {v for n, v in (e.split("=", 1) for e in unit["Environment"]) if n.endswith("_FILE")}
    assert read == {f"%d/{name}" for name in shown}


@pytest.mark.parametrize("role", UNITS)
def test_it_is_nobody_in_particular_and_confined(role: str) -> None:
    unit = UNITS[role]
    for name in ("DynamicUser", "NoNewPrivileges", "PrivateTmp", "PrivateDevices", "MemoryDenyWriteExecute"):
        assert unit[name] == ["yes"], name
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["CapabilityBoundingSet"] == []
    assert unit["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]
