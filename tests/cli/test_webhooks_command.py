"""`orchestrator webhooks` as a person types it, against a Gemini that listens; and the service beside it."""

import asyncio
import io
import json
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cli_kit import TOKEN, Shell
from standardwebhooks import Webhook

from orchestrator import app, clients
from orchestrator.cli.examination import examine
from orchestrator.cli.secret_store import SecretFile, rotated
from orchestrator.domain.registration import EVENTS
from orchestrator.emulator.gemini.app import build
from orchestrator.emulator.gemini.clock import VirtualClock
from orchestrator.emulator.gemini.emulator import Emulator
from orchestrator.emulator.gemini.settings import EmulatorSettings
from orchestrator.emulator.serving import running
from orchestrator.errors import SignatureError
from orchestrator.settings import load
from orchestrator.store.database import Database

OURS = "https://agents.example.com/webhooks/gemini"
KEY = "canary-key"


@pytest.fixture(scope="module")
def gemini() -> Iterator[tuple[str, Emulator]]:
    """A stand-in that listens on a thread of its own; its address."""
    made = build(EmulatorSettings())
    up, stop, told = threading.Event(), asyncio.Event(), list[Any]()

    async def serve() -> None:
        async with running(made) as base:
            told.extend([base, asyncio.get_running_loop()])
            up.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert up.wait(60)
    yield told[0], made.state.emulator
    told[1].call_soon_threadsafe(stop.set)
    thread.join(60)


@pytest.fixture
def place(gemini: tuple[str, Emulator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings for that Gemini, and a project of its own there."""
    monkeypatch.chdir(tmp_path)
    Path("tools").mkdir()
    for name in ("GEMINI_WEBHOOK_SECRETS", "GOOGLE_API_KEY", "ORCHESTRATOR_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GEMINI_API_KEY", f"{KEY}-{tmp_path.name}")
    monkeypatch.setenv("ORCHESTRATOR_API_TOKEN", TOKEN)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/runs.db")
    monkeypatch.setenv("COLUMNS", "200")
    config = {
        "public_url": "https://agents.example.com",
        "slack": {"enabled": False},
        "gemini": {"base_url": gemini[0]},
    }
    Path("config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return tmp_path


@pytest.fixture
def shell(place: Path, shell: Shell) -> Shell:
    """Runs one of these commands. The key is in nothing it says."""

    def run(line: str) -> tuple[int, str, str]:
        code, out, err = shell(f"webhooks {line}")
        assert KEY not in out + err
        return code, out, err

    return run


def mine(emulator: Emulator) -> Any:
    """The one webhook of this test's project."""
    [hook] = emulator.webhooks.of(emulator.project_of(os.environ["GEMINI_API_KEY"]))
    return hook


def listed(shell: Shell) -> list[dict[str, Any]]:
    return [json.loads(line) for line in shell("list --json")[1].splitlines()]


def test_from_register_to_delete(
    shell: Shell, gemini: tuple[str, Emulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shell("list")[1].startswith("no webhook is registered")
    code, secret, told = shell("register --name prod")
    assert code == 0
    assert secret.startswith("whsec_")
    assert OURS in told
    [hook] = listed(shell)
    assert (hook["uri"], hook["name"], hook["state"], hook["events"]) == (OURS, "prod", "enabled", [*EVENTS])
    assert secret.strip().endswith(hook["secrets"][0]["ends_with"])

    code, out, told = shell("register")
    assert (code, out) == (0, "")
    assert "already" in told
    assert len(listed(shell)) == 1

    assert f"{OURS} (ours)" in shell("list")[1]
    assert "registered and enabled" in shell("show")[1]
    assert json.loads(shell(f"show {hook['id']} --json")[1]) == hook
    code, _, told = shell("ping")
    assert (code, "does not mean that it arrived" in told) == (0, True)

    mine(gemini[1]).state = "disabled_due_to_failed_deliveries"
    assert "too many deliveries failed" in shell("show")[1]
    assert "was disabled_due_to_failed_deliveries and is enabled" in shell("enable")[2]

    code, other, _ = shell("register --again --event interaction.completed")
    assert (code, other[:6]) == (0, "whsec_")
    first, second = listed(shell)
    assert (len(first["events"]), len(second["events"])) == (7, 1)
    code, _, told = shell("ping")
    assert (code, "2 webhooks are registered" in told) == (2, True)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    code, _, told = shell(f"delete {first['id']}")
    assert (code, "nothing was done" in told, len(listed(shell))) == (1, True, 2)
    assert shell(f"delete {first['id']} --yes")[0] == 0
    assert shell("enable --events")[0] == 0
    assert listed(shell)[0]["events"] == [*EVENTS]
    code, _, told = shell(f"show {first['id']}")
    assert (code, "HTTP 404" in told) == (1, True)


REFUSED = {
    "register --uri http://agents.example.com/x": "https",
    "register --uri https://user@agents.example.com/x": "user name",
    "register --uri ftp://agents.example.com/x --insecure-http": "https",
    "register --secret-to vault:x": "print, env:FILE or file:PATH",
    "register --secret-to file:absent/x": "nothing can be written",
    "register --event no.such.event": "HTTP 400",
    "register --uri http://agents.example.com/x --insecure-http": "HTTP 400",  # which is Gemini's own no
    "delete ../interactions/x --yes": "the id is impossible",
    "rotate": "no webhook is registered",
}
GEMINIS_NO = ("HTTP 400", "the id is impossible")


def test_what_cannot_be_is_refused(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    for line, says in REFUSED.items():
        code, out, told = shell(line)
        assert (code, out) == (1 if says in GEMINIS_NO else 2, ""), line
        assert says in told
    assert listed(shell) == []
    monkeypatch.delenv("GEMINI_API_KEY")
    assert "GEMINI_API_KEY is not set" in shell("list")[2]


def test_rotation_keeps_the_old_secret_with_its_end(shell: Shell, place: Path) -> None:
    env = place / "service.env"
    foreign = "whsec_Zm9yZWlnbg=="
    env.write_text(f"# ours\nA=1\nGEMINI_WEBHOOK_SECRETS='{foreign}'\nB=2", encoding="utf-8")
    env.chmod(0o600)
    code, out, _ = shell("register --secret-to env:service.env")
    assert (code, out) == (0, "")
    first = entries(env)
    assert first[1:] == [foreign]
    assert env.read_text(encoding="utf-8").splitlines()[::3] == ["# ours", "B=2"]

    before = datetime.now(UTC).replace(microsecond=0)
    assert shell("rotate --secret-to env:service.env")[:2] == (0, "")
    new, old, other = entries(env)
    assert (old.partition(";until=")[0], other) == (first[0], foreign)
    ends = datetime.fromisoformat(old.partition(";until=")[2])
    assert timedelta(0) <= ends - before - timedelta(hours=24) < timedelta(minutes=1)
    assert shell("rotate --secret-to env:service.env")[0] == 0
    assert [e.partition(";")[0] for e in entries(env)] == [entries(env)[0], new, first[0], foreign]
    assert entries(env)[2] == old  # its end is not put off

    code, _, told = shell("rotate --revoke now --secret-to env:service.env")
    assert (code, "1 other secret(s) stay there without an end" in told) == (0, True)
    assert len(entries(env)) == 2
    assert entries(env)[1] == foreign
    assert env.stat().st_mode & 0o777 == 0o600
    code, printed, told = shell("rotate")
    assert (code, printed[:6], ";until=" in told) == (0, "whsec_", True)


def entries(env: Path) -> list[str]:
    """The secrets, as the service itself would take them."""
    [line] = [t for t in env.read_text(encoding="utf-8").splitlines() if t.startswith("GEMINI_WEBHOOK")]
    value = line.partition("=")[2].strip("'")
    loaded = load(need_secrets=False, environ={"GEMINI_WEBHOOK_SECRETS": value})
    assert [s.reveal() for s in loaded.webhooks.secrets] == value.split(",")
    return value.split(",")


def test_files_that_others_could_read_are_refused_before_anything_is_asked(shell: Shell, place: Path) -> None:
    (place / "open").write_text("", encoding="utf-8")
    (place / "open").chmod(0o644)
    (place / "link").symlink_to(place / "elsewhere")
    (place / "folder").mkdir(mode=0o700)
    (place / "strange").write_text("hello\n", encoding="utf-8")
    (place / "twice").write_text("GEMINI_WEBHOOK_SECRETS=\n" * 2, encoding="utf-8")
    (place / "both").write_text("GEMINI_WEBHOOK_SECRETS_FILE=/x\n", encoding="utf-8")
    for name in ("strange", "twice", "both"):
        (place / name).chmod(0o600)
    refused = {
        "file:open": "chmod 600",
        "file:link": "it is a link",
        "file:folder": "no file",
        "file:strange": "no whsec_",
        "env:twice": "more than once",
        "env:both": "file:PATH",
    }
    for target, says in refused.items():
        code, out, told = shell(f"register --secret-to {target}")
        assert (code, out) == (2, ""), target
        assert says in told
    assert listed(shell) == []
    assert not (place / "elsewhere").exists()

    assert shell("register --secret-to file:secrets")[:2] == (0, "")
    assert (place / "secrets").stat().st_mode & 0o777 == 0o600
    loaded = load(need_secrets=False, environ={"GEMINI_WEBHOOK_SECRETS_FILE": str(place / "secrets")})
    assert len(loaded.webhooks.secrets) == 1
    assert [p.name for p in place.iterdir() if p.name.startswith(".")] == []


def test_a_secret_that_cannot_be_written_is_not_lost(
    shell: Shell, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("orchestrator.cli.secret_store.os.fsync", full)
    code, out, told = shell("register --secret-to file:secrets")
    assert (code, out[:6]) == (1, "whsec_")
    assert "No space left" in told
    assert "told this once" in told
    assert list(place.glob("*secrets*")) == []


def test_an_answer_that_got_lost_is_told_with_a_way_out(shell: Shell, gemini: tuple[str, Emulator]) -> None:
    gemini[1].inject("webhooks.create", "accept_then_reset")
    code, out, told = shell("register")
    assert (code, out) == (3, "")
    assert "its secret is lost then: see `orchestrator webhooks list`, delete it" in told
    assert len(listed(shell)) == 1


def test_doctor_and_readyz_say_how_it_stands(
    shell: Shell, place: Path, gemini: tuple[str, Emulator], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def doctor() -> tuple[str, str]:
        [found] = [f for f in await examine(None) if f.what == "webhook"]
        return found.state, found.text

    monkeypatch.setenv("GEMINI_WEBHOOK_SECRETS", "whsec_Zm9yZWlnbg==")
    state, text = asyncio.run(doctor())
    assert (state, "`orchestrator webhooks register`" in text) == ("warn", True)
    shell("register")
    assert asyncio.run(doctor()) == ("ok", "the webhook is registered and enabled")

    failing = "Gemini has switched the webhook off: too many deliveries failed"
    for heal, told in (("false", failing), ("true", "")):
        mine(gemini[1]).state = "disabled_due_to_failed_deliveries"
        monkeypatch.setenv("ORCHESTRATOR_WEBHOOKS__HEAL", heal)
        assert asyncio.run(ready(sqlite_url, told)) == (200, told)
        assert (mine(gemini[1]).state == "enabled") is (heal == "true")


async def ready(url: str, expected: str) -> tuple[int, str | None]:
    """What `/readyz` of a service says about the webhook, once it says what is expected."""
    database = Database(url)
    service = app.build(load(), database)
    try:
        async with service.lifespan(service.web), asking(service.web) as http:
            async with asyncio.timeout(30):
                while True:
                    answer = await http.get("/readyz")
                    told = {c["name"]: c["detail"] for c in answer.json()["checks"]}.get("webhook")
                    if told == expected:
                        return answer.status_code, told
                    await asyncio.sleep(0.02)
    finally:
        database.close()


@asynccontextmanager
async def asking(web: Any) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=web)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as http:
        yield http


# ------------------------------------------------------------------ rotation


class Receiver:
    """A webhook address that believes what the settings' secrets vouch for, as the service's door does."""

    def __init__(self, clock: VirtualClock, file: Path) -> None:
        self.clock, self.file, self.status = clock, file, 200
        self.answers: list[int] = []
        self.last: tuple[Any, bytes] = ([], b"")

    def restart(self) -> None:
        """Read the secrets anew."""
        environ = {"GEMINI_WEBHOOK_SECRETS_FILE": str(self.file)}
        self.verifier = clients.static(load(need_secrets=False, environ=environ))

    def believes(self, headers: Any, body: bytes) -> bool:
        try:
            self.verifier.verify(headers, body, now=self.clock.now())
        except SignatureError:
            return False
        return True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.last = scope["headers"], body
        status = self.status if self.believes(*self.last) else 401
        self.answers.append(status)
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


@pytest.mark.asyncio
async def test_a_rotation_with_overlap_loses_nothing(place: Path) -> None:
    clock, file = VirtualClock(), place / "secrets"
    made = build(EmulatorSettings(clock=clock, seed=7))
    emulator: Emulator = made.state.emulator
    receiver, store = Receiver(clock, file), SecretFile(file, env=False)

    async def happens() -> None:
        """Something ends at Gemini, which sends an event."""
        emulator.courier.ping(emulator.webhooks.get(emulator.project_of("k"), hook.id))
        await emulator.advance(1)

    async with running(made) as base, running(receiver) as address:
        settings = load(
            need_secrets=False, environ={"ORCHESTRATOR_GEMINI__BASE_URL": base, "GEMINI_API_KEY": "k"}
        )
        registrations = clients.registrations(settings, clock.now)
        first = await registrations.create(f"{address}/hooks", events=EVENTS)
        hook = first.registration
        store.change(lambda _: [first.secret])
        receiver.restart()
        await happens()
        overtaken = receiver.last  # signed before the rotation; it might as well have been slow

        receiver.status = 503  # one that waits for its next attempt while the secret changes
        await happens()
        receiver.status = 200
        new = await registrations.rotate(hook.id)
        ends = clock.now() + timedelta(hours=24)
        await happens()  # the service still runs with the old secret only
        store.change(rotated(new, hook.secrets, ends, clock.now()))
        receiver.restart()
        await happens()  # with both
        assert receiver.believes(*overtaken)
        await emulator.advance(3600)
        assert receiver.answers == [200, 503, 200, 200, 200]

        await emulator.advance(24 * 3600)
        await happens()
        assert receiver.answers[5:] == [200]
        assert {d.state for d in emulator.courier.deliveries} == {"delivered"}
        signed = {secret: by(secret, clock.now()) for secret in (first.secret, new)}
        assert [receiver.believes(headers, b"{}") for headers in signed.values()] == [False, True]

        await registrations.rotate(hook.id, at_once=True)
        await happens()  # without overlap, a service that was not told is deaf
        assert receiver.answers[6:] == [401]
        await registrations.aclose()


def by(secret: str, now: datetime) -> dict[str, str]:
    """Headers that vouch for an empty object by that secret alone."""
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", now, "{}"),
    }
