"""The audit over HTTP."""

import hashlib
import re
from typing import Any

from litestar.testing import TestClient
from web_kit import DIGEST, House, bearer


def decided(client: TestClient, house: House) -> tuple[str, str]:
    """A run with a question that was answered; its id and the question's."""
    run = house.asked()
    approval = run.turn.calls[0].approval
    assert approval is not None
    order = {"verdict": "reject", "reason": "too much", "digest": DIGEST[:16]}
    answer = client.post(f"/v1/approvals/{approval.id}/decision", json=order, headers=bearer("ops"))
    assert answer.status_code == 200, answer.text
    return run.id, approval.id


def page(client: TestClient, **query: Any) -> dict[str, Any]:
    answer = client.get("/v1/audit", params=query, headers=bearer("ops"))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_the_audit_page_by_page(client: TestClient, house: House) -> None:
    (one, approval), (other, _) = decided(client, house), decided(client, house)
    whole = page(client)["items"]
    assert [e["seq"] for e in whole] == [*range(1, len(whole) + 1)]
    found, after = [], 0
    while after is not None:
        part = page(client, limit=3, after=after)
        found += part["items"]
        after = part["next"]
    assert found == whole
    for entry in whole:
        assert entry["hash"] == hashlib.sha256((entry["previous"] + entry["body"]).encode()).hexdigest()
        assert entry["facts"]["kind"] == entry["kind"]
    assert {e["run"] for e in whole} == {one, other}
    assert {e["run"] for e in page(client, run=one)["items"]} == {one}
    assert {e["approval"] for e in page(client, approval=approval)["items"]} == {approval}
    clear = re.search(r"\b1250\b", str(whole))  # a hash may hold it
    assert not clear, "arguments are never in it in clear"


def test_the_receipt_of_a_decision(client: TestClient, house: House) -> None:
    _, approval = decided(client, house)
    answer = client.get(f"/v1/approvals/{approval}/receipt", headers=bearer("reader"))
    assert answer.status_code == 200
    told = answer.json()
    assert [e["kind"] for e in told["entries"]] == ["approval_requested", "decided", "call_settled"]
    facts = told["entries"][1]["facts"]
    assert (facts["verdict"], facts["by"]["id"], facts["by"]["door"]) == ("reject", "api:ops", "api")
    assert (facts["shown"], facts["digest"], facts["reason"]) == (DIGEST[:16], DIGEST, "too much")
    last = page(client)["items"][-1]
    assert told["head"] == {"tenant": "default", "seq": last["seq"], "hash": last["hash"]}
    for name in ("apr_0", "no%20id"):
        assert client.get(f"/v1/approvals/{name}/receipt", headers=bearer("reader")).status_code == 404
