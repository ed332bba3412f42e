"""The triggers of the settings, ready to fire: schedules, mappings, recipes under contract, signatures."""

import hashlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from urllib.parse import urlsplit

from orchestrator.domain.consent import Contract
from orchestrator.domain.model import Recipe
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.terms import faults
from orchestrator.domain.triggers import First, Missed, under
from orchestrator.domain.values import replace
from orchestrator.engine.armed import Armed, Cron, Feed, Hook
from orchestrator.engine.ports import ToolkitPort
from orchestrator.errors import ConfigError, RejectedError
from orchestrator.gemini.static import StaticSecret, StaticVerifier
from orchestrator.outbound.address import Rules
from orchestrator.settings import Settings
from orchestrator.settings.environment import suggest
from orchestrator.settings.triggers import Trigger, signing
from orchestrator.triggers import cron
from orchestrator.triggers.mapping import Mapped


def arm(settings: Settings, tools: ToolkitPort) -> tuple[Armed, ...]:
    """Every trigger.

    Raises:
        ConfigError: One does not fit together; names its key.
    """
    return tuple(_armed(settings, name, trigger, tools) for name, trigger in settings.triggers.items())


def verifiers(settings: Settings) -> Mapping[str, StaticVerifier]:
    """Of the triggers that take signed deliveries, by name.

    Raises:
        ConfigError: One has no secret, or a secret is of none.
    """
    secrets, found = signing(settings.trigger_secrets), {}
    for name, trigger in settings.triggers.items():
        if trigger.webhook:
            own = [StaticSecret(secret.reveal(), until) for secret, until in secrets.get(name, ())]
            if not own:
                raise ConfigError(
                    f"triggers.{name}.webhook: needs a secret; put {name}=whsec_… into TRIGGER_SECRETS,"
                    " or into the file that TRIGGER_SECRETS_FILE names"
                )
            found[name] = StaticVerifier(own, tolerance_seconds=settings.webhooks.tolerance_seconds)
    for name in secrets:
        if name not in settings.triggers:
            near = suggest(name, settings.triggers)
            raise ConfigError(f"trigger_secrets: there is no trigger {name!r}{near}")
    return found


def schedule(trigger: Trigger) -> cron.Cron | None:
    """Of a cron trigger."""
    return cron.Cron(trigger.cron, trigger.timezone) if trigger.cron is not None else None


def _armed(settings: Settings, name: str, trigger: Trigger, tools: ToolkitPort) -> Armed:
    contract = trigger.contract(settings.approvals.roles)
    recipe = _under(settings.recipe(trigger.workflow), contract)
    for tool in recipe.callable:
        terms = tools.terms(recipe, tool)
        if terms is not None and contract is not None:
            for key, text in faults(terms):
                raise ConfigError(f"triggers.{name}: of {tool}, {key} {text}")
    source, plan, told = _source(name, trigger)
    return Armed(name, recipe, source, _prepare(settings, name, trigger), plan, told)


def _under(recipe: Recipe, contract: Contract | None) -> Recipe:
    """Its own questions go by the contract, too."""
    terms = under(recipe.terms, contract) if recipe.terms is not None else None
    return replace(recipe, terms=terms, contract=contract)


def _source(name: str, trigger: Trigger) -> tuple[Cron | Feed | Hook, str, str]:
    if trigger.cron is not None:
        when = _schedule(name, trigger, trigger.cron)
        told = f"{trigger.cron} {trigger.timezone}"
        return Cron(when, Missed(trigger.missed), trigger.missed_most, when.local), _plan("cron", told), told
    if trigger.feed is not None:
        inside = trigger.place if trigger.internal else ""
        try:
            Rules(local=[inside] if inside else ()).target(trigger.feed)
        except RejectedError as e:
            raise ConfigError(f"triggers.{name}.feed: {e}") from None
        every = timedelta(minutes=trigger.every_minutes)
        plan = f"{_plan('feed', trigger.feed)}.{every.total_seconds():.0f}"
        told = f"{_shown(trigger.feed)} every {trigger.every_minutes:g} minutes"
        return Feed(trigger.feed, every, First(trigger.first), inside), plan, told
    return Hook(), _plan("webhook", name), f"deliveries at /v1/triggers/{name}"


def _schedule(name: str, trigger: Trigger, expression: str) -> cron.Cron:
    try:
        return cron.Cron(expression, trigger.timezone)
    except ConfigError as e:
        raise ConfigError(f"triggers.{name}.cron: {e}") from None


def _plan(kind: str, text: str) -> str:
    return hashlib.sha256(f"{kind}\0{text}".encode()).hexdigest()[:40]


def _shown(url: str) -> str:
    """Without its query, where feeds that are not for everybody have their token."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}{'?…' if parts.query else ''}"


def _prepare(settings: Settings, name: str, trigger: Trigger) -> Callable[[JsonObject], str]:
    try:
        mapped = Mapped(trigger.text, trigger.input, trigger.sees)
    except ConfigError as e:
        raise ConfigError(f"triggers.{name}.{e}") from None
    render = settings.workflows[trigger.workflow].form.render
    return lambda seen: render(mapped(seen))
