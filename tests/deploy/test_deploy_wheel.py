"""The wheel as the image has it: built from what the builder is sent, installed, run by another user.

Without a network: what builds is in the tests' environment, and the installed program sees the packages
of that environment. Run by root, the program runs as `nobody`, without a home, in a folder nobody may
write to; else as whoever runs the tests.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest
from deploy_kit import BUILD, DEPLOY, ROOT, VERSION, said, write_secrets
from support.ports import own_port

pytestmark = pytest.mark.timeout(400)

PACKAGES: Final = sysconfig.get_paths()["purelib"]
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 60.0
NOT_OURS: Final = ("__pycache__", "*.db", "*.pyc")


@dataclass(frozen=True)
class Who:
    """Who runs the program, and with which Python; None is whoever runs the tests."""

    python: str
    user: pwd.struct_passwd | None

    @property
    def ids(self) -> dict[str, object]:
        """For `subprocess`."""
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}


def another() -> Who | str:
    """Another user with a Python of our version that they may run and our packages that they may read."""
    if os.geteuid() != 0:
        return "only root can run it as another user"
    name = "python{}.{}".format(*sys.version_info)
    for folder in (sys.base_exec_prefix, "/usr/local", "/usr"):
        who = Who(f"{folder}/bin/{name}", pwd.getpwnam("nobody"))
        try:
            look = [who.python, "-c", "import sqlalchemy, venv"]
            subprocess.run(
                look, env={"PYTHONPATH": PACKAGES}, cwd="/", check=True, capture_output=True, **who.ids
            )  # type: ignore[call-overload]
        except (OSError, subprocess.CalledProcessError):
            continue
        return who
    return f"no {name} and packages that another user may read"


def run(*command: object, cwd: Path) -> str:
    """What a command of ours prints. Fails the test with everything it said."""
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_wheel(source: Path, folder: Path) -> Path:
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, source, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


@dataclass(frozen=True)
class Installed:
    """The program on a machine of its own, as far as folders can be one."""

    who: Who
    folder: Path

    @property
    def program(self) -> Path:
        return self.folder / "venv" / "bin" / "orchestrator"

    @property
    def file(self) -> Path:
        return self.folder / "data" / "orchestrator.db"

    def environ(self, **more: str) -> dict[str, str]:
        """As in the image, with Gemini and Slack out of reach."""
        secrets = self.folder / "secrets"
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": "/nonexistent",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "ORCHESTRATOR_CONFIG": str(self.folder / "config.yaml"),
            "ORCHESTRATOR_TOOLS__FOLDER": str(self.folder / "tools"),
            "ORCHESTRATOR_SERVER__GRACEFUL_SECONDS": "3",
            "ORCHESTRATOR_SLACK__ENABLED": "false",
            "ORCHESTRATOR_GEMINI__BASE_URL": "http://127.0.0.1:9",
            "ORCHESTRATOR_LOG__FORMAT": "json",
            "DATABASE_URL": f"sqlite:///{self.file}",
            "GEMINI_API_KEY_FILE": str(secrets / "gemini_api_key"),
            "GEMINI_WEBHOOK_SECRETS_FILE": str(secrets / "gemini_webhook_secrets"),
            **more,
        }

    def start(self, *args: str, **more: str) -> "subprocess.Popen[str]":
        """The program, in a folder it may not write to."""
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            [self.program, *args],
            cwd=self.folder / "nowhere",
            env=self.environ(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **self.who.ids,
        )

    def say(self, *args: str) -> str:
        """What it prints; it must end well."""
        process = self.start(*args)
        said, _ = process.communicate(timeout=90)
        assert process.returncode == 0, said
        return str(said)


def furnish(folder: Path, who: Who) -> None:
    """What is mounted beside the program: settings, tools and secrets to read, one folder to write in."""
    shutil.copy(DEPLOY / "kubernetes" / "config.yaml", folder)
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns(*NOT_OURS))
    write_secrets(folder / "secrets")
    (folder / "nowhere").mkdir()
    (folder / "nowhere").chmod(0o555)
    (folder / "data").mkdir()
    if who.user is not None:
        os.chown(folder / "data", who.user.pw_uid, who.user.pw_gid)


@pytest.fixture(scope="module", params=["another user", "own user"])
def who(request: pytest.FixtureRequest) -> Who:
    """One of the two: the other one's check says no more, or cannot be made here."""
    other = another()
    if request.param == "another user":
        return other if isinstance(other, Who) else pytest.skip(other)
    if isinstance(other, Who):
        pytest.skip("it is run as another user, which shows more")
    return Who(sys.executable, None)


@pytest.fixture(scope="module")
def installed(who: Who) -> Iterator[Installed]:
    """Built and installed like in the Dockerfile."""
    # Not below pytest's own folder, which is closed to others.
    folder = Path(tempfile.mkdtemp(prefix="orchestrator-wheel-"))
    folder.chmod(0o755)
    sources = {s for rest in said(BUILD, "COPY") for s in rest.split()[:-1]}
    for source in (ROOT / s for s in sources):
        target = folder / "source" / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        ignored = shutil.ignore_patterns(*NOT_OURS)
        shutil.copytree(source, target, ignore=ignored) if source.is_dir() else shutil.copy(source, target)
    (folder / "dist").mkdir()
    wheel = build_wheel(folder / "source", folder / "dist")
    run(who.python, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", folder / "venv/bin/python")
    run(*pip, "install", "-q", "--no-deps", "--no-index", wheel, cwd=folder)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "beside.pth").write_text(f"{PACKAGES}\n")
    furnish(folder, who)
    yield Installed(who, folder)
    shutil.rmtree(folder)


def answered(process: "subprocess.Popen[str]", url: str) -> httpx.Response:
    """The first answer at `url` with a 200, in bounded time."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            answer = httpx.get(url, timeout=30, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        if answer.status_code == 200:
            return answer
        time.sleep(0.05)
    process.kill()
    pytest.fail(f"{url} does not answer: {process.communicate()[0]}")


def test_it_tells_its_version_and_its_commands(installed: Installed) -> None:
    assert installed.say("--version").strip().endswith(VERSION)
    told = installed.say("--help")
    assert all(command in told for command in ("serve", "db", "doctor"))
    told = installed.say("settings", "check")
    assert "1 workflows" in told


def test_it_makes_the_schema_by_itself_and_serves_and_stops(installed: Installed) -> None:
    assert "the database is at schema" in installed.say("db", "upgrade")
    port = own_port()
    process = installed.start("serve", ORCHESTRATOR_SERVER__PORT=str(port))
    assert answered(process, f"http://127.0.0.1:{port}/healthz").json() == {"status": "ok"}
    assert answered(process, f"http://127.0.0.1:{port}/readyz").json()["ready"] is True
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=STOP_SECONDS)
    assert process.returncode == 0, said
    uid = os.geteuid() if installed.who.user is None else installed.who.user.pw_uid
    assert installed.file.stat().st_uid == uid
    assert not list((installed.folder / "nowhere").iterdir())


def test_a_folder_it_may_not_write_to_is_told_in_one_line(installed: Installed) -> None:
    if os.geteuid() == 0 and installed.who.user is None:
        pytest.skip("root may write anywhere")
    process = installed.start("db", "upgrade", DATABASE_URL="sqlite:///orchestrator.db")
    said, _ = process.communicate(timeout=90)
    assert process.returncode == 2
    assert "database.url: sqlite:///orchestrator.db cannot be opened" in said
    assert "Traceback" not in said


def test_neither_distribution_carries_what_is_not_the_programs(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("orchestrator", "migrations", "tools", ".deploy", "requirements"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns(*NOT_OURS, "secrets"))
    for name in ("pyproject.toml", "README.md", "config.yaml", ".gitignore", ".dockerignore"):
        shutil.copy(ROOT / name, tree)
    write_secrets(tree / ".deploy" / "secrets")
    for name in (
        ".env",
        "orchestrator/.env",
        "orchestrator/orchestrator.db",
        "tools/.env",
        "tools/orders.db-wal",
    ):
        (tree / name).write_text("secret")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=tree)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as tar:
        names = {n.partition("/")[2] for n in tar.getnames()}
    with zipfile.ZipFile(build_wheel(tree, tmp_path)) as wheel:
        packed = set(wheel.namelist())
    assert "orchestrator/_migrations/env.py" in packed
    assert {"orchestrator/app.py", "migrations/env.py", "tools/orders.py"} <= names
    assert {n.partition("/")[0] for n in packed} == {
        "orchestrator",
        f"gemini_orchestrator-{VERSION}.dist-info",
    }
    for name in names | packed:
        assert not name.startswith((".deploy", "tests", "requirements")), name
        assert not name.endswith((".env", ".db", ".db-wal")), name
