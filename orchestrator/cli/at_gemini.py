"""What the `webhooks` commands share: a client with the key, the webhook that is meant, our address."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from orchestrator.errors import ConfigError, UncertainError

if TYPE_CHECKING:
    from orchestrator.domain.registration import Registration
    from orchestrator.gemini.registrations import Registrations
    from orchestrator.settings import Settings

T = TypeVar("T")


def settings(config: Path | None) -> "Settings":
    from orchestrator.cli.secret_store import VARIABLE
    from orchestrator.settings import load

    # The webhook's own secret may be what is still missing, file and all.
    environ = {k: v for k, v in os.environ.items() if k not in (VARIABLE, f"{VARIABLE}_FILE")}
    settings = load(config, environ, need_secrets=False)
    if not settings.gemini.api_key:
        raise ConfigError("GEMINI_API_KEY is not set: it says whose webhooks are meant")
    return settings


def run(settings: "Settings", work: Callable[["Registrations"], Awaitable[T]]) -> T:
    import asyncio

    from orchestrator import app, clients

    async def opened() -> T:
        gemini = clients.registrations(settings, app.now)
        try:
            return await work(gemini)
        finally:
            await gemini.aclose()

    return asyncio.run(opened())


async def picked(gemini: "Registrations", settings: "Settings", webhook: str | None) -> "Registration":
    """The one that is meant.

    Raises:
        ConfigError: None was named, and not exactly one is registered for our address.
    """
    from orchestrator import clients
    from orchestrator.domain.registration import ours

    if webhook:
        return await gemini.get(webhook)
    address = clients.webhook_address(settings)
    if address is None:
        raise ConfigError("say which: ID (`orchestrator webhooks list` has them), or set public_url")
    found = ours(await gemini.list(), address)
    if len(found) != 1:
        count = "no webhook is" if not found else f"{len(found)} webhooks are"
        raise ConfigError(
            f"{count} registered for {address}: say which by ID, see `orchestrator webhooks list`"
        )
    return found[0]


async def sure(doing: Awaitable[T], way_out: str) -> T:
    """What is sent once; where its answer got lost, people are told how to go on."""
    try:
        return await doing
    except UncertainError as e:
        text = f"{e}\nIt may have happened all the same, and its secret is lost then: {way_out}"
        raise UncertainError(text) from e


def address(settings: "Settings", given: str | None, insecure: bool) -> str:
    from orchestrator import clients
    from orchestrator.settings.addresses import own_address

    address = given or clients.webhook_address(settings)
    if address is None:
        raise ConfigError("public_url is not set: set it, or say by --uri where Gemini shall send to")
    plain = insecure and address.startswith("http://")
    looked_at = f"https://{address.removeprefix('http://')}" if plain else address
    try:
        own_address(looked_at)
    except ValueError as e:
        raise ConfigError(f"{'--uri' if given else 'public_url'}: {e}") from None
    return address
