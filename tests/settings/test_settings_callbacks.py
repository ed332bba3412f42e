"""Settings about callers' addresses: their bounds, and what does not fit together."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator import clients
from orchestrator.domain.callbacks import ALL_NEWS, Callback, News
from orchestrator.errors import ConfigError
from orchestrator.settings import Settings

Load = Callable[..., Settings]
NEW, OLD = ("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
BASE = "slack: {channel: C0APPR}\napprovals: {approvers: [U0ALICE]}\n"
HOOK = "https://hooks.example.com/t0ken"
CALLING = BASE + "workflows: {w: {model: m, callback: {url: '%s'%s}}}\n"


def clock() -> datetime:
    return datetime.now(UTC)


def test_without_anything_nobody_is_told(load_text: Load) -> None:
    settings = load_text(BASE)
    assert clients.callbacks(settings, clock) is None
    assert (settings.callbacks.retry, settings.callbacks.disable) == (timedelta(days=1), timedelta(days=3))
    patient = load_text(BASE + "callbacks: {retry_hours: 100}").callbacks
    assert patient.disable == timedelta(hours=100)


def test_a_workflow_with_a_callback(load_text: Load) -> None:
    settings = load_text(CALLING % (HOOK, ", events: [run.completed]"), CALLBACK_SECRETS=f"{NEW} {OLD}")
    assert settings.recipe("w").callbacks == (Callback(HOOK, (News.RUN_COMPLETED,)),)
    assert load_text(CALLING % (HOOK, "")).recipe("w").callbacks == (Callback(HOOK, ALL_NEWS),)
    sender = clients.callbacks(settings, clock)
    assert sender is not None
    assert len(sender.signed("msg_1", "{}")["webhook-signature"].split(" ")) == 2
    assert NEW not in repr(settings)


@pytest.mark.parametrize(
    ("text", "secret", "key"),
    [
        (CALLING % (HOOK, ""), None, "callbacks.secrets: is missing"),
        (CALLING % ("http://hooks.example.com/", ""), NEW, "workflows.w.callback.url: must begin with https"),
        (CALLING % ("https://10.0.0.1/", ""), NEW, "workflows.w.callback.url: its host must be a public"),
        (
            CALLING % (HOOK, "") + "callbacks: {allowed_hosts: [other.example]}",
            NEW,
            "workflows.w.callback.url: its host is not among",
        ),
    ],
)
def test_a_callback_that_cannot_be_called_does_not_start(
    load_text: Load, text: str, secret: str | None, key: str
) -> None:
    settings = load_text(text, CALLBACK_SECRETS=secret)
    with pytest.raises(ConfigError) as caught:
        clients.callbacks(settings, clock)
    assert key in str(caught.value)
    assert "t0ken" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "secret", "key"),
    [
        (CALLING % ("hooks.example.com", ""), NEW, "workflows.w.callback.url"),
        (CALLING % ("https://u:canary@hooks.example.com/", ""), NEW, "workflows.w.callback.url"),
        (CALLING % (HOOK, ", events: [run.begun]"), NEW, "workflows.w.callback.events"),
        (CALLING % (HOOK, ", events: []"), NEW, "workflows.w.callback.events"),
        (BASE, "canary", "callbacks.secrets"),
        (BASE, "whsec_Y2FuYXJ5", "callbacks.secrets"),
        (BASE, f"{NEW};until=2027-01-01T00:00:00Z", "callbacks.secrets"),
        (BASE, f"{NEW} {NEW}", "callbacks.secrets"),
        (BASE + f"callbacks: {{secrets: [{NEW}]}}", None, "callbacks.secrets"),
        (BASE + "callbacks: {allowed_hosts: ['https://a.example']}", None, "callbacks.allowed_hosts"),
        (BASE + "callbacks: {allowed_hosts: ['a.example:65536']}", None, "callbacks.allowed_hosts"),
        (BASE + "callbacks: {allowed_hosts: ['a.example.']}", None, "callbacks.allowed_hosts"),
        (BASE + "callbacks: {insecure_hosts: ['*.example']}", None, "callbacks.insecure_hosts"),
        (BASE + "callbacks: {insecure_hosts: ['localhost:99999']}", None, "callbacks.insecure_hosts"),
        (BASE + "callbacks: {retry_hours: 0}", None, "callbacks.retry_hours"),
        (BASE + "callbacks: {retry_hours: 337}", None, "callbacks.retry_hours"),
        (BASE + "callbacks: {timeout_seconds: 61}", None, "callbacks.timeout_seconds"),
        (BASE + "callbacks: {retries: 3}", None, "callbacks.retries: is not a setting"),
    ],
)
def test_a_wrong_setting_is_named(load_text: Load, text: str, secret: str | None, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(text, CALLBACK_SECRETS=secret)
    assert key in str(caught.value)
    assert "canary" not in str(caught.value)
    assert NEW not in str(caught.value)
