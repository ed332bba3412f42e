"""What `doctor` looks at, one finding each."""

import platform
import sqlite3
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import Engine, make_url

from orchestrator import advice, app, arming, clients, opening, parts, tooling
from orchestrator.cli import slack_plan
from orchestrator.domain.registration import RegistrationState, judge
from orchestrator.engine.webhook_care import NOWHERE
from orchestrator.errors import ConflictError, OrchestratorError, RejectedError
from orchestrator.gemini.gateway import GeminiGateway
from orchestrator.settings import Settings, load
from orchestrator.store import maintenance, migrate
from orchestrator.web.hooks import DYNAMIC, GEMINI

SAFE_SQLITE: Final = (3, 51, 3)
"""Earlier ones may, rarely, damage a file on which two connections checkpoint at once; we keep to one."""

WAYS_OUT: Final = {
    RegistrationState.NONE: "`orchestrator webhooks register`",
    RegistrationState.DISABLED: "`orchestrator webhooks enable`",
    RegistrationState.FAILING: "see that it can be reached, then `orchestrator webhooks enable`",
    RegistrationState.OTHER_EVENTS: "`orchestrator webhooks enable --events`, or set webhooks.events",
    RegistrationState.STRANGE: "`orchestrator webhooks show`",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """`bad` keeps the service from doing its job, `warn` is worth a look."""

    state: Literal["ok", "warn", "bad"]
    what: str
    text: str


async def examine(config: Path | None) -> list[Finding]:
    """Every finding; each look is taken whatever the ones before it came to, as far as that is possible."""
    python = Finding("ok", "Python", platform.python_version())
    try:
        settings = load(config)
    except OrchestratorError as e:
        bad = [Finding("bad", "settings", line) for line in str(e).splitlines()]
        return [python, *bad]
    found = [python, Finding("ok", "settings", f"{len(settings.workflows)} workflows")]
    found += [f async for f in _looks(settings)]
    return found


async def _looks(settings: Settings) -> AsyncIterator[Finding]:
    for finding in _declared(settings):
        yield finding
    try:
        parts.around(settings, app.now)
    except OrchestratorError as e:
        yield Finding("bad", "settings", str(e))
    for line in advice.advise(settings, app.now()):
        yield Finding("warn", "settings", line)
    yield _database(settings)
    if sqlite3.sqlite_version_info < SAFE_SQLITE:
        text = f"{sqlite3.sqlite_version}; 3.51.3 mends a rare fault with two writers, which we never have"
        yield Finding("warn", "SQLite", text)
    yield _callers(settings)
    yield _address(settings)
    yield await _gemini(settings)
    yield await _webhook(settings)
    if settings.slack.enabled:
        yield await _slack(settings)


def _declared(settings: Settings) -> Iterator[Finding]:
    """The tools, and what starts runs by itself: each as the start reads it."""
    try:
        toolkit = tooling.toolkit(settings)
    except OrchestratorError as e:
        yield Finding("bad", "tools", str(e))
        return
    yield Finding("ok", "tools", ", ".join(t.name for t in toolkit.tools) or "none are listed")
    try:
        arming.arm(settings, toolkit)
        arming.verifiers(settings)
    except OrchestratorError as e:
        yield Finding("bad", "triggers", str(e))
        return
    if settings.triggers:
        yield Finding("ok", "triggers", ", ".join(settings.triggers))


def _database(settings: Settings) -> Finding:
    """Its address and schema; one that a running service holds is looked at beside it, reading only.

    A file that is not there yet is left to the start: made here, a misspelt name would look like a database.
    """
    try:
        url = make_url(settings.database.url.reveal())
        if url.get_backend_name() == "sqlite" and not (file := Path(url.database or "").absolute()).exists():
            return Finding("warn", "database", f"there is no {file} yet; the start makes it, empty")
        try:
            with opening.failures_told(settings), opening.opened(settings) as database:
                return _schema(settings, database.engine, "", may_be_new=database.sqlite)
        except ConflictError:
            with maintenance.reading(url) as engine:
                return _schema(settings, engine, "a service runs on it, or another command: ")
    except Exception as e:  # noqa: BLE001  whatever keeps it from opening is the finding
        return Finding("bad", "database", f"{type(e).__name__}: {e}")


def _schema(settings: Settings, engine: Engine, told: str, *, may_be_new: bool = False) -> Finding:
    at, wanted = migrate.current(engine), migrate.head(engine)
    if at != wanted and not (may_be_new and at is None):
        behind = "the schema is not current: run `orchestrator db upgrade`"
        return Finding("bad", "database", f"{told}{behind}{' once it is stopped' if told else ''}")
    return Finding("ok", "database", f"{told}{settings.database.shown}, schema {at or 'made at the start'}")


def _callers(settings: Settings) -> Finding:
    names = [t.name for t in settings.api.callers]
    if names:
        return Finding("ok", "API tokens", ", ".join(names))
    return Finding("bad", "API tokens", "nobody may call: `orchestrator tokens new NAME --scope trigger`")


def _address(settings: Settings) -> Finding:
    mode, ours = settings.webhooks.mode, settings.public_url
    if mode == "poll":
        told = f"{ours}; " if ours else "not set: cards carry no links; "
        return Finding("ok", "public_url", f"{told}no webhooks are expected, interactions are polled")
    if not ours:
        text = "not set: Gemini cannot be told where we are, cards carry no links"
        return Finding("warn", "public_url", text)
    if mode == "dynamic":
        text = f"each interaction names {ours}{DYNAMIC}<token> as its webhook"
        return Finding("ok", "public_url", text)
    return Finding("ok", "public_url", f"Gemini's webhook goes to {ours}{GEMINI}")


async def _gemini(settings: Settings) -> Finding:
    """Whether the key is taken: reading an interaction that cannot exist must end in a plain 404."""
    g = settings.gemini
    gateway = GeminiGateway(
        api_key=g.api_key.reveal(), base_url=g.base_url, api_version=g.api_version, timeout_seconds=10
    )
    try:
        await gateway.fetch("v1_doctor")
    except RejectedError as e:
        if e.code in ("not_found", "invalid_request"):
            return Finding("ok", "Gemini", f"{g.base_url} takes the key")
        return Finding("bad", "Gemini", str(e))
    except OrchestratorError as e:
        return Finding("bad", "Gemini", str(e))
    finally:
        await gateway.aclose()
    return Finding("ok", "Gemini", g.base_url)


async def _webhook(settings: Settings) -> Finding:
    """How our webhook is registered; without one, runs still go on, by readings now and then."""
    mode, wanted = settings.webhooks.mode, clients.wanted(settings)
    if mode != "static":
        return Finding("ok", "webhook", f"none needs to be registered with webhooks.mode: {mode}")
    if wanted is None:
        return Finding("warn", "webhook", NOWHERE)
    registrations = clients.registrations(settings, app.now, timeout_seconds=10)
    try:
        verdict = judge(await registrations.list(), address=wanted.address, events=wanted.events)
    except OrchestratorError as e:
        return Finding("warn", "webhook", f"Gemini could not be asked: {e}")
    finally:
        await registrations.aclose()
    if verdict.well:
        return Finding("ok", "webhook", verdict.text)
    return Finding("warn", "webhook", f"{verdict.text}: {WAYS_OUT[verdict.standing]}")


async def _slack(settings: Settings) -> Finding:
    """Token, scopes, channels, groups and socket in one line; `orchestrator slack check` tells of each."""
    try:
        found, channels = await slack_plan.looks(settings), slack_plan.channels(settings)
    except OrchestratorError as e:
        return Finding("bad", "Slack", f"not looked at: {e}")
    amiss = [f"{look.what}: {look.text}" for look in found if look.state != "ok"]
    if any(look.state == "bad" for look in found):
        return Finding("bad", "Slack", "; ".join(amiss))
    if amiss:
        return Finding("warn", "Slack", "; ".join(amiss))
    return Finding("ok", "Slack", f"{found[0].text}; scopes are there, channels: {', '.join(channels)}")
