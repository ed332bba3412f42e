"""A run whose rows say what no run can: whoever asks for it is told which one, and the others are there."""

from typing import Any

import pytest
import sqlalchemy as sa
from litestar.testing import TestClient
from sqlalchemy.orm import Session
from web_kit import House, bearer

from orchestrator.store.run_rows import approval_t, run_t

POKES = {
    "terms": (approval_t, {"terms": {}}),
    "votes": (approval_t, {"votes": [1]}),
    "verdict": (approval_t, {"verdict": [1]}),
    "recipe": (run_t, {"recipe": {}}),
    "requester": (run_t, {"requester": {}}),
}


def poked(s: Session, run_id: str, table: sa.Table, values: dict[str, Any]) -> None:
    """By hand; what this process remembers of the run is not what stands there any more."""
    key = run_t.c.id if table is run_t else table.c.run_id
    s.execute(table.update().where(key == run_id).values(**values))
    s.execute(run_t.update().where(run_t.c.id == run_id).values(version=run_t.c.version + 1))


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
