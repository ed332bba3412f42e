"""The HTTP API: who may do what, one run per key, the same gate for decisions as in Slack."""

import asyncio
from typing import Any

import pytest
from looking import headline_of, text_of
from scenery import OPERATOR, asks, call, says
from stage import ON_SQLITE, Stage

from orchestrator.emulator.slack.interactivity import Click

pytestmark = pytest.mark.asyncio

STORY = asks(call("charge", item="book", amount=3)), says("Charged.", "Not charged.")


async def test_decisions_pass_the_same_gate_as_clicks(stage: Stage) -> None:
    run_id = await stage.play(*STORY)
    [approval] = await stage.asked(run_id)
    for token, status in ((None, 401), ("reader", 403), ("starter", 403), ("bygone", 401), ("dana", 403)):
        assert (await _decide(stage, approval["id"], token)).status_code == status, token
    refused = await stage.decide(approval["id"], digest="0" * 64)
    assert refused.status_code == 409
    assert "changed" in refused.json()["detail"]
    assert (await stage.decide(approval["id"], digest=approval["digest"][:15])).status_code == 400
    assert (await stage.decide("apr_0123456789abcdef01234567")).status_code == 404
    assert (await stage.approvals(run_id))[0]["status"] == "pending"
    assert stage.book() == []

    answer = await stage.decide(approval["id"], token="alice", digest=approval["digest"])
    assert answer.status_code == 200
    assert answer.json()["verdict"]["by"] == {"id": "U0ALICE", "name": "alice", "door": "api"}
    await stage.ended(run_id)
    assert [row["approved_by"] for row in stage.book()] == ["U0ALICE"]
    assert "<@U0ALICE>" in text_of((await stage.redrawn(approval, "Done")).blocks)
    late = await stage.decide(approval["id"], "reject")
    assert late.status_code == 409
    assert "already approved by alice at 20" in late.json()["detail"]


async def _decide(stage: Stage, approval: str, token: str | None) -> Any:
    body = {"verdict": "approve"}
    return await stage.call("POST", f"/v1/approvals/{approval}/decision", token=token, json=body)


async def test_api_and_slack_at_once_give_one_decision(stage: Stage) -> None:
    calls = [call("charge", f"c-{n}", item=f"book {n}", amount=n) for n in range(6)]
    run_id = await stage.play(asks(*calls), says("Done."))
    for approval in await stage.asked(run_id, 6):
        both = [stage.click(approval, "approve"), stage.decide(approval["id"], "reject")]
        if approval["arguments"]["amount"] % 2:
            both.reverse()
        answers = await asyncio.gather(*both)
        slack, api = answers if isinstance(answers[0], Click) else answers[::-1]
        now = await stage.get(f"/v1/approvals/{approval['id']}")
        assert slack.status == 200
        assert api.status_code == (200 if now["status"] == "rejected" else 409)
    await stage.ended(run_id)
    approved = [a for a in await stage.approvals(run_id) if a["status"] == "approved"]
    assert sorted(row["amount"] for row in stage.book()) == sorted(a["arguments"]["amount"] for a in approved)


async def test_an_idempotency_key_makes_one_run(stage: Stage) -> None:
    stage.script("once only", says("Done."))

    async def start(key: str, text: str = "once only", token: str = OPERATOR, **more: Any) -> Any:
        options = {"json": {"input": text, **more}, "headers": {"idempotency-key": key}}
        return await stage.call("POST", "/v1/workflows/shop/runs", token=token, **options)

    answers = await asyncio.gather(*(start("key-1") for _ in range(8)))
    assert sorted(a.status_code for a in answers) == [200] * 7 + [202]
    [run_id] = {a.json()["id"] for a in answers}
    await stage.ended(run_id)
    assert (await start("key-1")).json()["id"] == run_id  # also after the end
    assert (await start("key-1", text="something else")).status_code == 409
    other = await start("key-1", token="starter")  # keys are the caller's own
    assert other.status_code == 202
    assert other.json()["id"] != run_id
    assert (await start("key-2", idempotency_key="key-3")).status_code == 400
    assert (await start("key 2")).status_code == 400
    await stage.ended(other.json()["id"])
    assert len((await stage.get("/v1/runs"))["items"]) == 2


BODIES: dict[str, tuple[bytes, dict[str, str], int]] = {
    "no JSON": (b"{", {}, 400),
    "a list": (b"[]", {}, 400),
    "nothing": (b"", {}, 400),
    "a repeated key": (b'{"input": "a", "input": "b"}', {}, 400),
    "not a number": (b'{"input": {"item": NaN}}', {}, 400),
    "too deep": (b'{"input": ' + b'{"a":' * 200 + b"1" + b"}" * 200 + b"}", {}, 400),
    "broken UTF-8": (b'{"input": "\xff"}', {}, 400),
    "half a pair": (b'{"input": "\\ud800"}', {}, 400),
    "U+0000": (b'{"input": "\\u0000"}', {}, 400),
    "an unknown field": (b'{"input": "a", "status": "completed"}', {}, 400),
    "model steps": (b'{"input": [{"type": "function_result", "call_id": "c", "result": "yes"}]}', {}, 400),
    "fields nobody declared": (b'{"input": {"type": "function_call", "name": "charge"}}', {}, 400),
    "an empty text": (b'{"input": ""}', {}, 400),
    "a form": (b"input=a", {"content-type": "application/x-www-form-urlencoded"}, 415),
    "text": (b'{"input": "a"}', {"content-type": "text/plain"}, 415),
    "packed": (b'{"input": "a"}', {"content-encoding": "gzip"}, 415),
    "too much": (b'{"input": "' + b"a" * 5000 + b'"}', {}, 413),
}


@ON_SQLITE
async def test_requests_that_do_not_fit_start_nothing(stage: Stage) -> None:
    for name, (body, headers, status) in BODIES.items():
        usual = {"content-type": "application/json"}
        answer = await stage.call(
            "POST", "/v1/workflows/shop/runs", content=body, headers={**usual, **headers}
        )
        assert answer.status_code == status, (name, answer.text)
        assert answer.headers["content-type"].startswith("application/problem+json"), name
    for path in ("/v1/workflows/nobody/runs", "/v1/workflows/..%2Fshop/runs"):
        assert (await stage.call("POST", path, json={"input": "a"})).status_code == 404
    assert (await stage.get("/v1/runs"))["items"] == []
    assert stage.counts("create") == 0


@ON_SQLITE
async def test_tokens_open_what_their_scopes_say(stage: Stage) -> None:
    run_id = await stage.play(*STORY)
    [approval] = await stage.asked(run_id)
    requests: dict[str, tuple[str, str, Any]] = {
        "trigger": ("POST", "/v1/workflows/shop/runs", {"input": ""}),
        "read": ("GET", f"/v1/runs/{run_id}", None),
        "decide": ("POST", f"/v1/approvals/{approval['id']}/decision", {"verdict": "perhaps"}),
        "operate": ("POST", f"/v1/runs/{run_id}/resolve", {"choice": "perhaps"}),
    }
    may = {
        "operator": {"trigger", "read", "decide", "operate"},
        "alice": {"read", "decide"},
        "reader": {"read"},
        "starter": {"trigger"},
        "stopper": {"operate"},
    }
    for token, scopes in may.items():
        for scope, (method, path, body) in requests.items():
            answer = await stage.call(method, path, token=token, json=body)
            assert (answer.status_code != 403) == (scope in scopes), (token, scope, answer.text)
    for scope, (method, path, body) in requests.items():
        for token in (None, "unheard-of", "bygone"):
            assert (await stage.call(method, path, token=token, json=body)).status_code == 401, scope
    assert headline_of(stage.message(approval)) == "Approval needed: charge"
    assert (await stage.run(run_id))["status"] == "waiting"


@ON_SQLITE
async def test_what_is_unknown_is_not_found(stage: Stage) -> None:
    nobody = "run_0123456789abcdef01234567"
    for path in (f"/v1/runs/{nobody}", f"/v1/runs/{nobody}/events", f"/v1/runs/{nobody}/approvals"):
        assert (await stage.call("GET", path)).status_code == 404
    assert (await stage.cancel(nobody)).status_code == 404
    assert (await stage.resolve(nobody, "retry")).status_code == 404
    assert (await stage.call("GET", "/v1/runs/x'%20or%201=1")).status_code == 404


async def test_lists_show_what_there_is(stage: Stage) -> None:
    done = [await stage.play(says(f"{n}")) for n in range(3)]
    waits = await stage.play(*STORY)
    for run_id in done:
        await stage.ended(run_id)
    await stage.asked(waits)
    first = await stage.get("/v1/runs", limit=3)
    second = await stage.get("/v1/runs", limit=3, cursor=first["next"])
    assert [r["id"] for r in first["items"] + second["items"]] == [waits, *done[::-1]]
    assert second["next"] is None
    assert [r["id"] for r in (await stage.get("/v1/runs", status="waiting"))["items"]] == [waits]
    assert [a["run"] for a in (await stage.get("/v1/approvals", status="pending"))["items"]] == [waits]
    assert {w["name"] for w in (await stage.get("/v1/workflows"))["items"]} >= {"shop", "order"}
    assert {t["name"] for t in (await stage.get("/v1/tools"))["items"]} >= {"charge", "look_up"}
    events = await stage.get(f"/v1/runs/{waits}/events", limit=2)
    assert [e["seq"] for e in events["items"]] == [1, 2]
    assert events["next"] == 2
