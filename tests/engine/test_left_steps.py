"""A step whose caller stopped waiting, and that fails then: told where it is a mistake, and once."""

import asyncio
import gc
import threading

import pytest
import structlog
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from support.clock import SettableClock
from support.patience import until

from orchestrator.domain.model import Policy
from orchestrator.engine.commits import Commits
from orchestrator.store.database import Database

pytestmark = pytest.mark.asyncio
AWAY = OperationalError("SELECT", {}, ConnectionError("it is away"))


@pytest.mark.parametrize(("error", "told"), [(AWAY, []), (ValueError("a mistake"), ["step_failed"])])
async def test_what_nobody_waits_for_any_more_is_told_by_its_kind(
    database: Database, error: Exception, told: list[str]
) -> None:
    commits = Commits(database, policy=Policy(), clock=SettableClock())
    begun, go, never_heard = threading.Event(), threading.Event(), list[str]()
    asyncio.get_running_loop().set_exception_handler(lambda _, said: never_heard.append(said["message"]))

    def job(s: Session) -> None:
        begun.set()
        go.wait(30)
        raise error

    waiting = asyncio.create_task(commits.write(job))
    await until(begun.is_set, "it is under way")
    with structlog.testing.capture_logs() as logs:
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go.set()
        await until(lambda: not commits._tasks, "it came to its end")
        await asyncio.sleep(0)
        gc.collect()
    assert [line["event"] for line in logs] == told
    assert not never_heard
