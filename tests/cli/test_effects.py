"""`orchestrator effects` as a person types it, against a service that listens."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_kit import TOKEN, Shell

from orchestrator import app
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.emulator.serving import free_port
from orchestrator.store import outbox
from orchestrator.store.database import Database
from orchestrator.store.outbox import effect_t


def put(served: Database, subject: str, kind: EffectKind = EffectKind.UPDATE_APPROVAL, **set_: Any) -> str:
    def job(s: Any) -> int:
        outbox.add(s, "run_x", [Effect(kind, subject, app.now())])
        mine = effect_t.c.subject == subject
        values = {"state": "dead", "attempts": 20, "error": "no answer from Slack"} | set_
        s.connection().execute(effect_t.update().where(mine).values(values))
        return int(s.connection().execute(effect_t.select().where(mine)).mappings().one()["id"])

    return f"eff_{asyncio.run(served.write(job))}"


def state(served: Database, effect: str) -> str:
    def job(s: Any) -> str:
        mine = effect_t.c.id == int(effect.removeprefix("eff_"))
        return str(s.connection().execute(effect_t.select().where(mine)).mappings().one()["state"])

    return asyncio.run(served.read(job))


# ------------------------------------------------------------------ what it does


def test_list_shows_what_was_given_up(shell: Shell, served: Database) -> None:
    assert shell("effects list") == (0, "no effect is dead\n", "")
    effect = put(served, "apr_1")
    code, out, err = shell("effects list")
    assert (code, err) == (0, "")
    for word in (effect, "update_approval", "apr_1", "run_x", "20", "no answer from Slack"):
        assert word in out
    assert effect not in shell("effects list --state pending")[1]
    assert effect not in shell("effects list --run run_y")[1]
    assert effect in shell("effects list --run run_x")[1]


def test_list_for_programs_goes_on_over_pages(shell: Shell, served: Database) -> None:
    made = [put(served, f"apr_{n}") for n in range(103)]
    code, out, _ = shell("effects list --json --limit 1000")
    assert [json.loads(line)["id"] for line in out.splitlines()] == made[::-1]
    assert code == 0
    _, out, err = shell("effects list --limit 101")
    assert (out.count("apr_"), "there are more" in err) == (101, True)


def test_neighbours_words_do_nothing_to_the_terminal(shell: Shell, served: Database) -> None:
    put(served, "apr_1", error="\x1b[2J\x07[bold]no\u202e")
    _, out, _ = shell("effects list")
    assert "[bold]no" in out
    assert not {"\x1b", "\x07", "\u202e"} & set(out)


def test_retry_and_drop(shell: Shell, served: Database) -> None:
    one, two = put(served, "apr_1"), put(served, "apr_2")
    code, out, err = shell(f"effects retry {one} --reason 'Slack is back'")
    assert (code, out, err) == (0, f"{one} update_approval of apr_1 is due now\n", "")
    assert state(served, one) == "pending"
    assert shell(f"effects drop {two}")[:2] == (0, f"{two} update_approval of apr_2 is dropped\n")
    assert state(served, two) == "dropped"


def test_a_no_to_one_does_not_keep_the_others(shell: Shell, served: Database) -> None:
    done, dead = put(served, "apr_1", state="done"), put(served, "apr_2")
    code, out, err = shell(f"effects retry {done} eff_999 ../../runs {dead}")
    assert (code, out) == (1, f"{dead} update_approval of apr_2 is due now\n")
    assert f"{done}: it is done" in err
    assert "eff_999: there is no effect of that id" in err
    assert "3 of 4 refused" in err
    assert state(served, dead) == "pending"


# ------------------------------------------------------------------ what may be wrong


def test_where_nobody_listens(shell: Shell, port: int) -> None:
    for line in ("list", "retry eff_1", "drop eff_1"):
        code, out, err = shell(f"effects {line}")
        assert (code, out) == (3, "")
        assert f"the service is not reached at http://127.0.0.1:{port}" in err
        assert TOKEN not in err


def test_the_service_is_asked_where_the_url_says(shell: Shell, served: Database, port: int) -> None:
    assert shell(f"effects list --url http://localhost:{port}/")[0] == 0
    code, _, err = shell(f"effects list --url http://127.0.0.1:{free_port()}")
    assert (code, "is not reached" in err) == (3, True)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "http://", "http://[::1", "file:///etc"])
def test_an_address_that_is_none(shell: Shell, port: int, url: str) -> None:
    code, _, err = shell(f"effects list --url {url}")
    assert (code, "--url" in err) == (2, True)


def test_no_token_and_another_variable(
    shell: Shell, served: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORCHESTRATOR_API_TOKEN")
    code, _, err = shell("effects list")
    assert (code, "ORCHESTRATOR_API_TOKEN is not set" in err) == (2, True)
    monkeypatch.setenv("MY_TOKEN", f" {TOKEN}\n")
    assert shell("effects list --token-env MY_TOKEN")[0] == 0
    monkeypatch.setenv("MY_TOKEN", "schlüssel")
    code, _, err = shell("effects list --token-env MY_TOKEN")
    assert (code, "MY_TOKEN holds" in err) == (2, True)


def test_a_token_the_service_does_not_know(
    shell: Shell, served: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "orc_wrong")
    for line in ("list", "drop eff_1"):
        code, _, err = shell(f"effects {line} --token-env MY_TOKEN")
        assert (code, "refused the token: this token is unknown" in err) == (2, True)


def test_any_port_is_no_address(shell: Shell, port: int) -> None:
    Path("config.yaml").write_text(
        yaml.safe_dump({"slack": {"enabled": False}, "server": {"port": 0}}), encoding="utf-8"
    )
    code, _, err = shell("effects list")
    assert (code, "--url" in err) == (2, True)


@pytest.mark.parametrize(
    ("status", "page"), [(404, b"<html>"), (200, b"<html>"), (200, b"null"), (200, b'{"items": []}')]
)
def test_something_else_that_listens(shell: Shell, port: int, status: int, page: bytes) -> None:
    """A page for people, from something in between, is no answer."""
    import http.server

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(page)

        do_POST = do_GET  # noqa: N815  the name that the library looks for

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        told = [shell(line) for line in ("effects list", "effects retry eff_1", "deliveries show msg_1")]
        server.shutdown()
    for code, out, err in told:
        assert (code, out) == (3, "")
        assert f"HTTP {status}, and no answer of this service" in err


def test_a_password_in_an_address_is_told_to_nobody(shell: Shell, port: int) -> None:
    code, _, err = shell(f"effects list --url http://me:canary@127.0.0.1:{port}")
    assert (code, "--url" in err, "canary" in err) == (2, True, False)
