"""How our webhook is registered at Gemini: who looks after that, and what they saw of it."""

from datetime import timedelta

from orchestrator import clients
from orchestrator.engine.ports import Clock
from orchestrator.engine.webhook_care import WebhookCare
from orchestrator.readiness import WebhookSeen
from orchestrator.settings import Settings
from orchestrator.store.database import Database


def _looked_after(settings: Settings) -> bool:
    """Whether somebody looks how our webhook is registered."""
    return settings.webhooks.mode == "static" and settings.webhooks.check_seconds > 0


def seen_of(settings: Settings, database: Database, clock: Clock) -> WebhookSeen | None:
    """What was seen of it; None where there is nothing to compare it with."""
    if not _looked_after(settings) or clients.wanted(settings) is None:
        return None
    return WebhookSeen(database, timedelta(seconds=settings.webhooks.check_seconds), clock)


def care(settings: Settings, clock: Clock, seen: WebhookSeen | None) -> WebhookCare | None:
    """Who looks after it, and tells `seen`; None where the settings want nobody to."""
    if not _looked_after(settings):
        return None
    wanted, every = clients.wanted(settings), settings.webhooks.check_seconds
    registrations, tell = clients.registrations(settings, clock), seen.keep if seen else None
    return WebhookCare(registrations, wanted, every_seconds=every, tell=tell)
