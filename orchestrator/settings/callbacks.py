"""Telling callers of their runs: which addresses may be called, what signs, and for how long it is tried."""

import re
from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from orchestrator.domain.callbacks import ALL_NEWS, Callback, News
from orchestrator.settings.addresses import PLACE, UNTIL, VISIBLE, HostName, webhook_secret
from orchestrator.settings.fields import UNIQUE, FromEnv, Items, Section, shaped
from orchestrator.settings.secrets import Secret

_URL: Final = re.compile(r"https?://[^/?#@]+([/?][^#]*)?", re.ASCII)


def signing_secret(secret: Secret) -> Secret:
    """`whsec_` and base64 of at least 24 bytes (Standard Webhooks, "Signature scheme")."""
    if UNTIL in secret.reveal():
        raise ValueError(f"must be a secret without {UNTIL}: leave it out when it is to sign no more")
    if len(webhook_secret(secret).reveal()) < len("whsec_") + 32:
        raise ValueError("must hold at least 24 bytes: `openssl rand -base64 32`, after whsec_")
    return secret


def callback_address(text: str) -> str:
    """An address as others give it; the client says more of it, and never repeats it."""
    if len(text) > 2048 or not VISIBLE.fullmatch(text) or not _URL.fullmatch(text):
        raise ValueError("must be an address such as https://hooks.example.com/path, without a user name")
    return text


NewsName = Literal[
    "run.waiting",
    "run.attention",
    "run.completed",
    "run.failed",
    "run.cancelled",
    "approval.requested",
    "approval.decided",
    "job.finished",
]
CallableHost = Annotated[
    str, shaped(rf"(?:\*\.)?{PLACE}", "a host name, with :port where needed, `*.` before it for all below it")
]


class WorkflowCallback(Section):
    """Who is told of a workflow's runs."""

    url: Annotated[str, AfterValidator(callback_address)] = Field(
        description="Address that is told, by signed POST; https."
    )
    events: Annotated[Items[NewsName], UNIQUE] = Field(
        default=tuple(n.value for n in ALL_NEWS), min_length=1, description="What it is told of."
    )

    @property
    def value(self) -> Callback:
        """As a run keeps it."""
        return Callback(self.url, tuple(News(name) for name in self.events))


class Callbacks(Section):
    """Signed webhooks to callers' addresses, about their runs."""

    secrets: Annotated[
        Items[Annotated[Secret, AfterValidator(signing_secret)]],
        UNIQUE,
        FromEnv(("CALLBACK_SECRETS",), needed=False),
    ] = Field(
        default=(),
        max_length=4,
        description="Secrets that sign, `whsec_…`, separated by blanks or commas; while rotating all of them"
        " do, the newest first. Without one nobody is told.",
    )
    allowed_hosts: Annotated[Items[CallableHost], UNIQUE] = Field(
        default=(),
        description="Hosts that may be called, with `:port` where it is not 443; `*.example.com` for all"
        " below it; empty: any public one. Private addresses are never called.",
    )
    insecure_hosts: Annotated[Items[HostName], UNIQUE] = Field(
        default=(),
        description="Hosts with their ports that may be called by plain http and on private addresses; for"
        " development, such as `localhost:9000`.",
    )
    timeout_seconds: float = Field(default=10, gt=0, le=60, description="How long one call may take.")
    retry_hours: float = Field(
        default=24, gt=0, le=24 * 14, description="For how long a message is tried, ever less often."
    )
    disable_after_hours: float = Field(
        default=72,
        gt=0,
        le=24 * 90,
        description="An address that failed all the time for so long is disabled until a person enables it;"
        " never before `retry_hours`.",
    )

    @property
    def retry(self) -> timedelta:
        return timedelta(hours=self.retry_hours)

    @property
    def disable(self) -> timedelta:
        return max(self.retry, timedelta(hours=self.disable_after_hours))
