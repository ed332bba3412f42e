"""One stage per story, on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from stage import Stage, staged


@pytest_asyncio.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    """Everything running, with the usual configuration."""
    async with staged(tmp_path, database_url) as made:
        yield made
