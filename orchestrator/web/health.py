"""Probes: open to anybody, so they name what is wrong and nothing more.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

import asyncio
import enum
from datetime import datetime
from typing import Final

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from msgspec import Struct
from sqlalchemy.orm import Session

from orchestrator.failure_streak import FailureStreak
from orchestrator.store import views
from orchestrator.web.doors import Check, Doors

OPEN: Final = {"scope": "open", "owner": "probe"}
PATIENCE_SECONDS: Final = 2.0


class Alive(Struct, kw_only=True):
    status: str


class Standing(enum.StrEnum):
    """How what was checked stands: `degraded` works on and wants to be looked at, `failing` takes this
    process out of service.
    """

    WELL = "well"
    DEGRADED = "degraded"
    FAILING = "failing"


class CheckOut(Struct, kw_only=True):
    """`ok` says only that requests may go on coming here; `status` says whether all is well, `detail` what is
    not.
    """

    name: str
    ok: bool
    status: Standing
    detail: str


class Readiness(Struct, kw_only=True):
    """`degraded` names the checks that let requests come and found something amiss. `backlog` counts what
    waits: `deliveries`, `effects_due`, `effects_dead`, and `live_runs`.
    """

    ready: bool
    degraded: list[str]
    checks: list[CheckOut]
    backlog: dict[str, int]


class Probe:
    """Looks for the probes, within two seconds. Of one process: what lasts is logged once, not by each."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._database = FailureStreak("database", traced=False)
        self._others = FailureStreak("readiness", traced=False)

    async def database(self) -> tuple[Check, dict[str, int]]:
        """Whether it answers in time, and what waits in it."""
        with self._database.attempt():
            async with asyncio.timeout(PATIENCE_SECONDS):
                backlog = await self._doors.database.read(_backlog, self._doors.clock())
            return Check("database", True), backlog
        return Check("database", False, "it does not answer"), {}

    async def others(self) -> list[Check]:
        """Everything else; a check that fails to check is a failed check."""
        with self._others.attempt():
            async with asyncio.timeout(PATIENCE_SECONDS):
                return list(await self._doors.readiness())
        return [Check("service", False, "its state cannot be told")]


@get("/healthz", opt=OPEN, summary="The process answers", security=[])
async def healthz() -> Alive:
    return Alive(status="ok")


@get(
    "/readyz",
    opt=OPEN,
    summary="The service can do its work",
    security=[],
    responses={503: ResponseSpec(Readiness, generate_examples=False, description="Something is missing.")},
)
async def readyz(probe: NamedDependency[Probe]) -> Response[Readiness]:
    (database, backlog), others = await asyncio.gather(probe.database(), probe.others())
    checks = [database, *others]
    ready = all(c.ok for c in checks)
    body = Readiness(
        ready=ready,
        degraded=[c.name for c in checks if _standing(c) is Standing.DEGRADED],
        checks=[CheckOut(name=c.name, ok=c.ok, status=_standing(c), detail=c.detail) for c in checks],
        backlog=backlog,
    )
    return Response(body, status_code=200 if ready else 503, headers={"cache-control": "no-store"})


def _standing(check: Check) -> Standing:
    if not check.ok:
        return Standing.FAILING
    return Standing.DEGRADED if check.detail else Standing.WELL


def _backlog(s: Session, now: datetime) -> dict[str, int]:
    return {**views.backlog(s, now), "live_runs": views.live_runs(s)}
