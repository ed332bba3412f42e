"""A run whose rows say what no run can: whoever asks for it is told which one, and the others are there."""

import pytest
from litestar.testing import TestClient
from support.poking import poked
from web_kit import House, bearer

from orchestrator.store.run_rows import approval_t, run_t

POKES = {
    "terms": (approval_t, {"terms": {}}),
    "votes": (approval_t, {"votes": [1]}),
    "verdict": (approval_t, {"verdict": [1]}),
    "recipe": (run_t, {"recipe": {}}),
    "requester": (run_t, {"requester": {}}),
}


@pytest.mark.parametrize("what", POKES)
def test_a_run_that_cannot_be_read_is_named_and_left_out(house: House, client: TestClient, what: str) -> None:
    broken, fine = house.asked(), house.asked()
    (asked,), (other,) = ([c.approval for c in run.turn.calls if c.approval] for run in (broken, fine))
    house.write(poked, broken.id, *POKES[what])
    path = f"/v1/approvals/{asked.id}/decision"
    refused = [
        client.post(f"/v1/runs/{broken.id}/cancel", headers=bearer()),
        client.post(path, json={"verdict": "approve"}, headers=bearer("ops")),
    ]
    for answer in refused:
        assert answer.status_code == 500
        assert f"run {broken.id} cannot be read" in answer.json()["detail"]
    for shown in (f"/v1/runs/{broken.id}", f"/v1/approvals/{asked.id}"):
        answer = client.get(shown, headers=bearer())
        assert answer.status_code == 200 or f"run {broken.id} cannot be read" in answer.json()["detail"]
    for listed, own in (("/v1/runs", fine.id), ("/v1/approvals", other.id)):
        answer = client.get(listed, headers=bearer())
        assert own in [item["id"] for item in answer.json()["items"]]
    path = f"/v1/approvals/{other.id}/decision"
    assert client.post(path, json={"verdict": "approve"}, headers=bearer("ops")).status_code == 200
