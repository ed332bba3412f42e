"""Gemini and Slack, as the settings describe them."""

from orchestrator.engine.breakers import is_away
from orchestrator.engine.ports import Clock
from orchestrator.engine.webhook_care import Wanted
from orchestrator.errors import ConfigError, RejectedError
from orchestrator.gemini.dynamic import DynamicVerifier
from orchestrator.gemini.gateway import GeminiGateway
from orchestrator.gemini.jobs import GeminiJobs
from orchestrator.gemini.keyset import KeySet
from orchestrator.gemini.mapping import TRIES
from orchestrator.gemini.registrations import Registrations
from orchestrator.gemini.static import StaticSecret, StaticVerifier
from orchestrator.gemini.token import TokenRule
from orchestrator.outbound import Outbound, Rules
from orchestrator.outbound.callbacks import CallbackSender
from orchestrator.settings import Settings
from orchestrator.slack.api_errors import SlackUnavailableError
from orchestrator.slack.gateway import SlackGateway
from orchestrator.slack.sockets import Socket
from orchestrator.storage.files import MIB, Storage
from orchestrator.storage.files import opened as opened_storage
from orchestrator.storage.pictures import Pictures, found
from orchestrator.triggers.feeds import Feeds
from orchestrator.web.doors import DynamicDoor
from orchestrator.web.hooks import DYNAMIC, GEMINI


def slack_away(error: Exception) -> bool | None:
    """Where Slack itself said not now, it is there: it means one channel and method, or our token.

    The gateway leaves that channel alone, and the outbox the effect; other channels need not wait.
    """
    return None if isinstance(error, SlackUnavailableError) else is_away(error)


def gemini(settings: Settings, clock: Clock) -> GeminiGateway:
    g = settings.gemini
    return GeminiGateway(
        api_key=g.api_key.reveal(),
        base_url=g.base_url,
        api_version=g.api_version,
        timeout_seconds=g.timeout_seconds,
        resend_tools=g.resend_tools,
        webhook_uris=[address] if (address := dynamic_address(settings)) is not None else (),
        tries=1 if settings.webhooks.mode == "poll" else TRIES,
        now=clock,
    )


def storage(settings: Settings) -> Storage:
    """Where files are kept. Raises `ConfigError` as `storage.opened`."""
    s = settings.storage
    return opened_storage(s.url, max_bytes=s.max_file_mb * MIB, min_free_bytes=s.min_free_mb * MIB)


def pictures(settings: Settings, files: Storage) -> Pictures:
    """Who makes pictures of stored files. Raises `ConfigError`: there is no such ffmpeg."""
    m = settings.media
    return Pictures(files, found(m.ffmpeg), frames=m.frames, seconds=m.seconds)


def long_jobs(gateway: GeminiGateway, files: Storage) -> GeminiJobs:
    """Videos and batches, over the gateway's own connection, which stays the gateway's to close."""
    return GeminiJobs(gateway.connection, files)


def dynamic_address(settings: Settings) -> str | None:
    """Where each create asks for its events, secret end and all; None where it leaves that to Gemini."""
    w = settings.webhooks
    if w.mode != "dynamic" or settings.public_url is None or not w.dynamic_tokens:
        return None
    return f"{settings.public_url}{DYNAMIC}{w.dynamic_tokens[0].reveal()}"


def static(settings: Settings) -> StaticVerifier:
    """For the registered webhook's deliveries; it stays where news come another way, but needs no secret."""
    w = settings.webhooks
    secrets = [StaticSecret(secret.reveal(), until) for secret, until in w.signing]
    return StaticVerifier(secrets, tolerance_seconds=w.tolerance_seconds)


def dynamic(settings: Settings) -> DynamicDoor | None:
    """The address that creates name, wherever tokens are given: what was asked for earlier still comes."""
    w = settings.webhooks
    if not w.dynamic_tokens:
        return None
    rule = TokenRule(w.jwt_audience, w.jwt_issuer) if w.jwt_audience and w.jwt_issuer else None
    keys = KeySet(w.jwks_url, age_seconds=w.jwks_age_seconds)
    verifier = DynamicVerifier(keys, tokens=rule, tolerance_seconds=w.tolerance_seconds)
    return DynamicDoor([t.reveal() for t in w.dynamic_tokens], verifier)


def registrations(settings: Settings, clock: Clock, *, timeout_seconds: float | None = None) -> Registrations:
    g = settings.gemini
    return Registrations(
        api_key=g.api_key.reveal(),
        base_url=g.base_url,
        api_version=g.api_version,
        timeout_seconds=timeout_seconds or g.timeout_seconds,
        now=clock,
    )


def feeds(clock: Clock) -> Feeds:
    """Of feeds in the house, whoever runs the service gave the addresses; each may be asked and no more."""
    return Feeds(Outbound(), lambda place: Outbound(Rules(local=[place])), clock)


def webhook_address(settings: Settings) -> str | None:
    """Where Gemini's registered webhook should send to; None where nobody said where we are."""
    return f"{settings.public_url}{GEMINI}" if settings.public_url else None


def wanted(settings: Settings) -> Wanted | None:
    """What should be registered, as far as the settings can tell."""
    address, w = webhook_address(settings), settings.webhooks
    return Wanted(address, w.events, w.heal) if address else None


def slack(settings: Settings, clock: Clock) -> SlackGateway | None:
    s = settings.slack
    if not s.enabled:
        return None
    return SlackGateway(
        s.bot_token.reveal(),
        clock=clock,
        base_url=s.api_url,
        timeout_seconds=s.timeout_seconds,
        response_hosts=s.response_url_hosts,
    )


def slack_socket(settings: Settings, clock: Clock) -> Socket | None:
    """Where Slack is heard over a connection of ours; None where it posts to our addresses."""
    s = settings.slack
    if not (s.enabled and s.socket_mode):
        return None
    return Socket(s.app_token.reveal(), clock=clock, base_url=s.api_url, timeout_seconds=s.timeout_seconds)


def callbacks(settings: Settings, clock: Clock) -> CallbackSender | None:
    """Who tells callers of their runs; None where nothing signs.

    Raises:
        ConfigError: A workflow's address needs one, or may not be called.
    """
    c = settings.callbacks
    calling = {name: w.callback.url for name, w in settings.workflows.items() if w.callback is not None}
    if not c.secrets:
        for name in calling:
            needed = f"needed because workflows.{name}.callback is set"
            raise ConfigError(f"callbacks.secrets: is missing; set CALLBACK_SECRETS; {needed}")
        return None
    sender = CallbackSender(
        Outbound(Rules(c.allowed_hosts, c.insecure_hosts)),
        [secret.reveal() for secret in c.secrets],
        clock=clock,
        timeout_seconds=c.timeout_seconds,
    )
    for name, url in calling.items():
        try:
            sender.check(url)
        except RejectedError as e:
            raise ConfigError(f"workflows.{name}.callback.url: {e}") from None
    return sender
