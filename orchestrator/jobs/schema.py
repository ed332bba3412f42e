"""PgQueuer's own tables: made, brought up to date and dropped by it, in a schema of their own."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import sqlalchemy as sa

from orchestrator.errors import ConfigError
from orchestrator.jobs.extra import needed

T = TypeVar("T")


def install(engine: sa.Engine) -> None:
    """Make the tables, or bring them to the installed PgQueuer's; nothing happens when they are.

    Safe in several processes at once: the second waits for the first, and finds nothing left to do.
    Cut short, it is finished by the next call. The role needs CREATE on the database, or on a schema
    `orchestrator_jobs` made for it beforehand.

    Raises:
        ConfigError: It has neither.
    """
    with needed():
        from orchestrator.jobs import library
    try:
        _aside(_install, engine.url)
    except library.InsufficientPrivilege as e:
        raise ConfigError(
            f"the job queue's tables cannot be made: {e.diag.message_primary}; let the role create them"
            f" (CREATE SCHEMA {library.SCHEMA} AUTHORIZATION …), or set work.dispatcher to embedded"
        ) from e


def installed(engine: sa.Engine) -> bool:
    """Whether the tables are there and are those of the installed PgQueuer."""
    return _aside(_installed, engine.url)


def uninstall(engine: sa.Engine) -> None:
    """Drop the tables with every job in them. Jobs are hints: what they spoke of is looked for again."""
    with needed():
        from orchestrator.jobs import library
    with engine.begin() as conn:
        conn.exec_driver_sql(f"DROP SCHEMA IF EXISTS {library.SCHEMA} CASCADE")


async def _install(url: sa.URL) -> None:
    from orchestrator.jobs import library

    async with library.connected(url) as conn:
        await library.queries(conn).apply_upgrade()


async def _installed(url: sa.URL) -> bool:
    from orchestrator.jobs import library

    async with library.connected(url) as conn:
        return not (await library.queries(conn).plan_upgrade()).statements


def _aside(job: Callable[[sa.URL], Coroutine[Any, Any, T]], url: sa.URL) -> T:
    """PgQueuer's migrations are async and the caller may be inside a loop: a loop in a thread of its own."""
    with needed():
        from orchestrator.jobs import library  # noqa: F401
    with ThreadPoolExecutor(1, "jobs-schema") as pool:
        return pool.submit(lambda: asyncio.run(job(url))).result()
