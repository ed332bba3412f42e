"""The settings as other modules take them: limits, rates, links, recipes."""

from collections.abc import Callable
from datetime import timedelta

from orchestrator.domain.model import Recipe
from orchestrator.engine.limits import Ceilings, RateLimit
from orchestrator.engine.lines import PostingRate
from orchestrator.engine.retention import Keep
from orchestrator.settings import Settings
from orchestrator.web.doors import Limits, WorkflowInfo


def posting_rate(settings: Settings) -> PostingRate:
    """What one channel of Slack's takes."""
    return PostingRate(timedelta(seconds=1 / settings.slack.messages_per_second), settings.slack.burst)


def keep(settings: Settings) -> Keep:
    """How long what has ended is kept."""
    r = settings.retention
    days = {"callbacks": timedelta(days=r.callbacks_days), "digests": timedelta(days=r.digests_days)}
    return Keep(r.runs, r.files, **days)


def ceilings(settings: Settings) -> Ceilings:
    """How many calls of a tool, and runs of a workflow, go on at once and begin in a minute."""
    limits = {
        name: RateLimit(o.max_concurrent or 0, o.max_per_minute or 0)
        for name, o in settings.tools.overrides.items()
    }
    return Ceilings(
        {name: limit for name, limit in limits.items() if limit != RateLimit()},
        {name: w.max_concurrent for name, w in settings.workflows.items() if w.max_concurrent},
    )


def links(public_url: str | None) -> Callable[[str], str]:
    """Of runs: each has a page, where an address of the service is known."""
    base = (public_url or "").rstrip("/")
    return lambda run_id: f"{base}/v1/runs/{run_id}" if base else ""


def file_links(public_url: str | None) -> Callable[[str], str]:
    """Of files jobs have made: they have a page each, below that of their run."""
    base = (public_url or "").rstrip("/")
    return lambda path: f"{base}/v1/files/{path}" if base and path.count("/") == 1 else ""


def recipes(settings: Settings) -> Callable[[str], Recipe | None]:
    """The workflow of a name as it stands now, if there still is one."""
    return lambda name: settings.recipe(name) if name in settings.workflows else None


def door_limits(settings: Settings) -> Limits:
    """How much the doors take, in bytes and in a minute."""
    server = settings.server
    return Limits(server.max_body_bytes, server.max_webhook_bytes, settings.api.rate_limit_per_minute)


def workflow(settings: Settings, name: str) -> WorkflowInfo:
    """What the doors know of one."""
    workflow = settings.workflows[name]
    return WorkflowInfo(
        name=name,
        recipe=settings.recipe(name),
        render=workflow.form.render,
        description=workflow.description,
        input_schema=workflow.input,
    )
