"""A PostgreSQL that may only be read: a standby, or one where our role may write nothing."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from litestar.testing import TestClient
from sqlalchemy.orm import Session
from stream_kit import streaming
from support.databases import administer
from web_kit import House, bearer, event_body, signed

from orchestrator.store import views

ONLY_READ = "default_transaction_read_only = on"
NO_RIGHT = "role = pg_read_all_data"
WHY = {ONLY_READ: "read-only transaction", NO_RIGHT: "permission denied"}
EITHER = pytest.mark.parametrize("how", WHY, ids=["standby", "role"])


@pytest.fixture
def house(tmp_path: Path, postgres_url: str) -> Iterator[House]:
    with streaming(tmp_path, postgres_url) as house:
        yield house


@contextmanager
def ordained(house: House, how: str) -> Iterator[None]:
    """Every session that begins meanwhile is set so."""
    url, name = house.database.url, how.partition(" ")[0]
    ours = f"ALTER DATABASE {url.database}"
    administer(url.set(database="postgres"), f"{ours} SET {how}")
    house.database.engine.dispose()
    yield
    administer(url.set(database="postgres"), f"{ours} RESET {name}")


@EITHER
def test_who_would_write_is_told_to_come_again_and_the_operator_why(house: House, how: str) -> None:
    asking: Any = {"json": {"input": "Order A-1042"}, "headers": bearer()}
    runs, body = "/v1/workflows/refund/runs", event_body()
    client = TestClient(house.app(), raise_server_exceptions=False)
    with client, structlog.testing.capture_logs() as logs, ordained(house, how):
        refused = client.post(runs, **asking)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["detail"] == "the database takes no writes; nothing was changed"
        assert client.post("/webhooks/gemini", content=body, headers=signed(body)).status_code == 503
        assert client.get("/v1/runs", headers=bearer()).json()["items"] == []
    told = [line["why"] for line in logs if line["event"] == "request_failed"]
    assert told
    assert all(WHY[how] in why for why in told)


def test_no_session_of_a_standby_is_kept_when_another_takes_over(house: House) -> None:
    async def several() -> None:
        await asyncio.gather(*(house.database.read(views.live_runs) for _ in range(6)))

    with ordained(house, ONLY_READ):
        asyncio.run(several())
        with pytest.raises(sa.exc.OperationalError):
            house.write(write)
        asyncio.run(several())
    with pytest.raises(sa.exc.OperationalError):
        house.write(write)
    for _ in range(6):
        house.write(write)


@EITHER
def test_so_are_statements_that_are_not_ours(house: House, how: str) -> None:
    with ordained(house, how), pytest.raises(sa.exc.OperationalError, match=WHY[how]):
        house.write(write)


def write(s: Session) -> None:
    """By a statement of SQLAlchemy's."""
    s.connection().execute(sa.text("DELETE FROM sighting"))
