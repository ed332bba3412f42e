"""Files that cannot be stored: whoever is asked says so, for as long as it is tried in vain."""

from contextlib import closing
from pathlib import Path

import httpx
import pytest
import yaml
from support.clock import SettableClock
from support.signing import WHSEC

from orchestrator import app
from orchestrator.readiness import FILES_TOLD_FOR
from orchestrator.settings import load
from orchestrator.store import migrate, sightings
from orchestrator.store.database import Database

FULL = "the storage folder's disk has 3 MiB left, below storage.min_free_mb"


@pytest.mark.asyncio
async def test_files_that_cannot_be_stored_want_a_look(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tools").mkdir()
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"slack": {"enabled": False}}), encoding="utf-8")
    said = {"GEMINI_API_KEY": "k", "GEMINI_WEBHOOK_SECRETS": WHSEC, "DATABASE_URL": sqlite_url}
    clock = SettableClock()
    with closing(Database(sqlite_url)) as database:
        migrate.upgrade(database.engine)
        service = app.build(load(config, environ=said), database, clock=clock)
        transport = httpx.ASGITransport(service.web)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:

            async def told() -> str:
                answer = (await http.get("/readyz")).json()
                (detail,) = (c["detail"] for c in answer["checks"] if c["name"] == "files")
                assert ("files" in answer["degraded"]) == bool(detail)
                return str(detail)

            assert await told() == ""
            seen = sightings.Sighting(clock(), False, FULL)
            await database.write(sightings.put, sightings.FILES, seen)
            assert await told() == FULL
            clock.advance(seconds=FILES_TOLD_FOR.total_seconds() + 1)
            assert await told() == ""
