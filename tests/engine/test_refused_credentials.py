"""A token that Slack refuses where others work, told by the process that only answers."""

from contextlib import closing
from datetime import timedelta

import pytest
from support.clock import NOON
from support.patience import until

from orchestrator.refused_credentials import RefusedCredentials
from orchestrator.store.database import Database
from orchestrator.store.words import LASTS

pytestmark = pytest.mark.asyncio
REVOKED = "token_revoked"


async def test_what_one_process_is_refused_is_told_by_all(database_url: str) -> None:
    seconds = 0.0
    with closing(Database(database_url)) as database:
        one, other, web = (
            RefusedCredentials(
                database, "slack", lambda s: NOON + timedelta(seconds=seconds), lambda: seconds
            )
            for _ in range(3)
        )

        async def answered(process: RefusedCredentials, why: str) -> str:
            process.answered(why)
            await until(lambda: not process.busy, "it is written down")
            return await web.why()

        assert await web.why() == await answered(one, "") == ""
        assert await answered(one, REVOKED) == REVOKED
        assert await answered(other, "") == REVOKED, "another process may have a newer token"
        assert await answered(one, "") == ""
        await answered(one, REVOKED)
        await one.leave()
        assert await web.why() == "", "it was stopped; the next one may have a good one"
        await answered(other, REVOKED)
        seconds += LASTS.total_seconds() / 2
        await answered(other, REVOKED)
        seconds += LASTS.total_seconds() / 2
        assert await web.why() == REVOKED, "it was said again meanwhile"
        seconds += LASTS.total_seconds() / 2
        assert await web.why() == "", "who said so was killed, or sends nothing any more"
