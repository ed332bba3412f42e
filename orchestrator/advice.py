"""Settings that are allowed and most likely a mistake; the service starts all the same.

`orchestrator settings check` and `doctor` show it, each start logs it. What is plainly wrong stops the start
instead, and is found where the settings are read, or armed.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from orchestrator.arming import schedule
from orchestrator.domain.daily import Daily
from orchestrator.settings import Settings
from orchestrator.settings.triggers import Trigger, signing

TIMES: Final = 60
"""Times of a cron trigger that are looked at ahead."""
HOURS: Final = 10
"""Hours of a digest that are: more than a week has."""


def advise(settings: Settings, now: datetime) -> Iterator[str]:
    """One line for each, with the key to look at; no secret."""
    yield from _nothing_signed(settings, now)
    for name, trigger in settings.triggers.items():
        yield from _ends_before_it_is_shown(settings, name, trigger, now)


def _nothing_signed(settings: Settings, now: datetime) -> Iterator[str]:
    """A rotation that was left half done: every secret had an end, and all are over."""
    secrets = signing(settings.trigger_secrets)
    for name, trigger in settings.triggers.items():
        ends = [until for _, until in secrets.get(name, ())]
        if trigger.webhook and ends and _over(ends, now):
            yield f"trigger_secrets: every secret of {name} has ended, so its deliveries are refused; add one"
    own = [until for _, until in settings.webhooks.signing]
    if settings.webhooks.mode == "static" and own and _over(own, now):
        yield "webhooks.secrets: every one has ended, so Gemini's deliveries are refused; add the current one"


def _over(ends: list[datetime | None], now: datetime) -> bool:
    return all(until is not None and until <= now for until in ends)


def _ends_before_it_is_shown(settings: Settings, name: str, trigger: Trigger, now: datetime) -> Iterator[str]:
    """A run whose time is over before the hour at which people are shown what it asks."""
    recipe = settings.recipe(trigger.workflow)
    if recipe.collect is None:
        return
    wait, lasts = _longest_wait(trigger, recipe.collect, now), recipe.limits.max_duration
    if lasts <= wait:
        key = f"workflows.{trigger.workflow}.limits.max_duration_seconds"
        yield (
            f"{key}: a run that triggers.{name} starts ends after {lasts}, and may wait {wait} for the digest"
            f" at {recipe.collect.at:%H:%M} {recipe.collect.timezone} that shows people what it asks"
        )


def _longest_wait(trigger: Trigger, digest: Daily, now: datetime) -> timedelta:
    """From a start to the digest after it: of its next times, or of any moment where it has none."""
    cron = schedule(trigger)
    step = cron.after if cron is not None else digest.following
    moments = [now]
    for _ in range(TIMES if cron is not None else HOURS):
        moments.append(step(moments[-1]))
    if cron is None:
        return max(later - earlier for earlier, later in pairwise(moments[1:]))
    return max(digest.following(moment) - moment for moment in moments[1:])
