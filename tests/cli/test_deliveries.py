"""`orchestrator deliveries` as a person types it, against the API of a service that listens."""

import asyncio
import json
from typing import Any

import pytest
from cli_kit import Shell

from orchestrator import app
from orchestrator.cli.deliveries import VERDICTS
from orchestrator.store import inbox
from orchestrator.store.database import Database
from orchestrator.store.inbox import Arrived, Closed, DeliveryVerdict
from orchestrator.store.refused_webhooks import keep, refused

ODD = "a/b?c"


def put(served: Database, name: str, verdict: DeliveryVerdict | None = None, **more: Any) -> None:
    given = {"kind": "interaction.completed", "subject": "i1", "timestamp": 1, "body": b'{"a": 1}'}

    def job(s: Any) -> None:
        inbox.put(s, [Arrived(name, at=app.now(), **{**given, **more})])
        inbox.close(s, [Closed(name, verdict, note="why so")] if verdict else [], app.now())

    asyncio.run(served.write(job))


def test_the_words_are_the_services_own() -> None:
    assert set(VERDICTS) == set(DeliveryVerdict)


def test_list_show_and_replay(shell: Shell, served: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell("deliveries list") == (
        0,
        "no delivery was taken; see also --verdict refused\n",
        "",
    )
    put(served, "msg_1", DeliveryVerdict.PARKED, headers={"webhook-signature": "v1,canarycanary"})
    put(served, ODD, kind="batch.succeeded")
    put(served, ODD, body=b"other")
    capsys.readouterr()  # the conflict was logged, in this process
    code, out, err = shell("deliveries list")
    assert (code, err) == (0, "")
    for word in (
        "msg_1",
        "interaction.completed",
        "i1",
        "parked",
        "why so",
        ODD,
        "waits",
        "1 (1 other body)",
    ):
        assert word in out
    assert ODD not in shell("deliveries list --verdict parked")[1]
    assert "msg_1" not in shell("deliveries list --kind batch.succeeded")[1]
    assert shell("deliveries list --subject i2") == (0, "no such delivery\n", "")
    lines = shell("deliveries list --json --limit 1")[1].splitlines()
    assert [json.loads(line)["id"] for line in lines] == [ODD]

    code, out, _ = shell("deliveries show msg_1")
    assert code == 0
    for word in ("msg_1", "parked", "v1,canaryca…", '{"a": 1}', "sha256"):
        assert word in out
    assert "canarycanary" not in out
    assert json.loads(shell(f"deliveries show --json '{ODD}'")[1])["conflicts"] == 1

    code, out, err = shell(f"deliveries replay msg_1 msg_x '{ODD}' --reason 'look again'")
    assert code == 1
    assert out.splitlines() == [
        "msg_1 interaction.completed of i1 is worked on again",
        f"{ODD} batch.succeeded of i1 is worked on again",
    ]
    assert "msg_x: there is no delivery of that id" in err
    assert "1 of 3 refused" in err
    assert "replayed by" in json.loads(shell("deliveries show msg_1 --json")[1])["note"]


def test_what_was_refused_is_listed_apart_and_stays_so(shell: Shell, served: Database) -> None:
    one = refused({"webhook-id": "msg_1"}, b'{"a": 1}', "no signature matches", at=app.now())
    asyncio.run(served.write(keep, [one]))
    assert one.id not in shell("deliveries list")[1]
    code, out, _ = shell("deliveries list --verdict refused")
    assert code == 0
    for word in (one.id, "refused: no signature matches"):
        assert word in out
    code, out, _ = shell(f"deliveries show {one.id}")
    assert (code, '{"a": 1}' in out, "webhook-id: msg_1" in out) == (0, True, True)
    code, out, err = shell(f"deliveries replay {one.id}")
    assert (code, out, "it was refused: no signature matches" in err) == (1, "", True)


def test_input_that_does_not_fit_is_not_the_services_no(shell: Shell, served: Database) -> None:
    put(served, "msg_1")
    assert shell(f"deliveries replay msg_1 --reason {'x' * 3_000}")[0] == 2
    assert shell("deliveries list --kind 'a b'")[0] == 2


def test_senders_words_do_nothing_to_the_terminal(shell: Shell, served: Database) -> None:
    put(served, "msg_1", subject="[bold]\u202e", body=b'"\x1b[2J\x07\xe2\x80\xae"')
    for line in ("list", "show msg_1"):
        code, out, _ = shell(f"deliveries {line}")
        assert (code, "[bold]" in out) == (0, True)
        assert not {"\x1b", "\x07", "\u202e"} & set(out)


def test_where_nobody_listens_and_one_that_is_not_there(
    shell: Shell,
    served: Database,
    port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, out, err = shell("deliveries show msg_x")
    assert (code, out) == (1, "")
    assert "there is no delivery of that id" in err
    monkeypatch.setenv("MY_TOKEN", "orc_wrong")
    for line in ("list", "show m", "replay m"):
        code, _, err = shell(f"deliveries {line} --token-env MY_TOKEN")
        assert (code, "refused the token" in err) == (2, True)
        code, _, err = shell(f"deliveries {line} --url http://127.0.0.1:1")
        assert (code, "is not reached" in err) == (3, True)
