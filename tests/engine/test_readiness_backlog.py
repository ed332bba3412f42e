"""Work that is due and that nobody takes up: who only answers says so, as there is nobody else to."""

from contextlib import closing
from pathlib import Path

import httpx
import pytest
import yaml
from support.clock import SettableClock
from support.signing import WHSEC

from orchestrator import app, jobs
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.readiness import LATE_SECONDS
from orchestrator.settings import load
from orchestrator.store import outbox
from orchestrator.store.database import Database


@pytest.mark.asyncio
async def test_who_only_answers_says_that_nobody_works(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tools").mkdir()
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"slack": {"enabled": False}}), encoding="utf-8")
    said = {"GEMINI_API_KEY": "k", "GEMINI_WEBHOOK_SECRETS": WHSEC, "DATABASE_URL": postgres_url}
    clock = SettableClock()
    with closing(Database(postgres_url)) as database:
        jobs.install(database.engine)
        service = app.build(load(config, environ=said), database, role=app.Role.WEB, clock=clock)
        due = Effect(EffectKind.CANCEL_INTERACTION, "i1", clock())
        await database.write(lambda s: outbox.add(s, "run_1", [due]))
        told = []
        transport = httpx.ASGITransport(service.web)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            for seconds in (0.0, LATE_SECONDS, 15.0):
                clock.advance(seconds=seconds)
                answer = await http.get("/readyz")
                checks = {c["name"]: c for c in answer.json()["checks"]}
                told.append((answer.status_code, checks["backlog"]["ok"], checks["backlog"]["detail"]))
    assert told == [
        (200, True, ""),
        (200, True, ""),
        (200, True, "work is due for 75 s: no worker runs, or all are busy"),
    ]
