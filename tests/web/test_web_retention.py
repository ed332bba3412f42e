"""What the doors say of what was let go: a run that is no more, and files that are no more."""

from datetime import timedelta
from typing import Any

from litestar.testing import TestClient
from test_web_files import stored
from web_kit import House, bearer

from orchestrator.storage.files import Storage
from orchestrator.store import outbox, retention, runs

LATER = timedelta(days=100)


def let_go(house: House, run_id: str, how: Any) -> None:
    """The run has ended, nothing is left to do behind it, and its time is up."""

    def job(s: Any) -> int:
        now = house.clock()
        s.connection().execute(runs.run_t.update().values(closed_at=now - LATER, status="cancelled"))
        s.connection().execute(outbox.effect_t.update().values(state="dropped"))
        count: int = how(s, [run_id], now - timedelta(days=1), now)
        return count

    assert house.write(job) == 1


def test_files_that_were_removed_are_410_and_say_why(house: House, storage: Storage) -> None:
    file = stored(house, storage)
    run_id = file.path.partition("/")[0]
    let_go(house, run_id, retention.let_files_go)
    with TestClient(house.app(files=storage)) as client:
        answer = client.get(f"/v1/files/{file.path}", headers=bearer())
        assert answer.status_code == 410
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"] == (
            "the file is not there any more: it was removed on 2026-11-21 12:00 UTC,"
            " because retention.files_days had passed since its run's end"
        )
        [listed] = client.get(f"/v1/runs/{run_id}/files", headers=bearer()).json()["items"]
        assert (listed["path"], listed["gone_at"]) == (file.path, "2026-11-21T12:00:00Z")
        [job] = client.get(f"/v1/runs/{run_id}/jobs", headers=bearer()).json()["items"]
        assert (job["files"][0]["link"], job["files_gone_at"]) == (None, "2026-11-21T12:00:00Z")
        other = client.get(f"/v1/files/{run_id}/other.mp4", headers=bearer())
        assert (other.status_code, other.json()["detail"]) == (404, "there is no such file")


def test_a_run_that_was_removed_is_404_and_says_why(house: House, storage: Storage) -> None:
    file = stored(house, storage)
    run_id = file.path.partition("/")[0]
    let_go(house, run_id, retention.let_runs_go)
    why = (
        f"there is no run {run_id} any more: it was removed on 2026-11-21 12:00 UTC, because"
        " retention.runs_days had passed since its end; the audit keeps what was decided in it"
    )
    with TestClient(house.app(files=storage)) as client:
        for path in ("", "/calls", "/events", "/files", "/jobs", "/approvals"):
            answer = client.get(f"/v1/runs/{run_id}{path}", headers=bearer())
            assert (answer.status_code, answer.json()["detail"]) == (404, why), path
        answer = client.get(f"/v1/files/{file.path}", headers=bearer())
        assert (answer.status_code, answer.json()["detail"]) == (404, why)
        unknown = "run_000000000000000000000000"
        answer = client.get(f"/v1/runs/{unknown}", headers=bearer())
        assert (answer.status_code, answer.json()["detail"]) == (404, f"there is no run {unknown}")
        entries = client.get(f"/v1/audit?run={run_id}", headers=bearer()).json()["items"]
        assert [e["kind"] for e in entries][-1:] == ["run_removed"]
