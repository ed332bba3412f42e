"""How we hear of news: which way needs what, secrets that end, tokens that nobody guesses."""

from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator import clients
from orchestrator.cli.examination import _address
from orchestrator.errors import ConfigError

SLACK = "slack: {enabled: false}\n"
TOKEN = "canary_dynamic-token-0123456789ab"
HERE = "public_url: https://agents.example.com\n"


def mode(name: str, more: str = "") -> str:
    return f"{SLACK}webhooks: {{mode: {name}{more}}}\n"


def fault(load_text: Any, text: str, **variables: str | None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_text(text, **variables)
    assert "canary" not in str(caught.value)
    return str(caught.value)


def test_static_needs_a_secret(load_text: Any) -> None:
    for text in (SLACK, mode("static")):
        assert load_text(text).webhooks.mode == "static"
        told = fault(load_text, text, GEMINI_WEBHOOK_SECRETS=None)
        assert told.startswith("environment GEMINI_WEBHOOK_SECRETS: webhooks.secrets: is missing")


def test_dynamic_needs_our_address_and_a_token(load_text: Any) -> None:
    settings = load_text(HERE + mode("dynamic"), GEMINI_WEBHOOK_SECRETS=None, GEMINI_WEBHOOK_TOKEN=TOKEN)
    assert clients.dynamic_address(settings) == f"https://agents.example.com/webhooks/gemini/{TOKEN}"
    told = fault(load_text, HERE + mode("dynamic"))
    assert told.startswith("environment GEMINI_WEBHOOK_TOKEN: webhooks.dynamic_tokens: is missing")
    told = fault(load_text, mode("dynamic"), GEMINI_WEBHOOK_TOKEN=TOKEN)
    assert told.endswith("config.yaml:1: public_url: is missing; needed while webhooks.mode is dynamic")


def test_poll_needs_neither(load_text: Any) -> None:
    settings = load_text(mode("poll"), GEMINI_WEBHOOK_SECRETS=None)
    assert clients.dynamic_address(settings) is None
    assert clients.dynamic(settings) is None


def test_only_dynamic_names_an_address_and_the_first_token_is_sent(load_text: Any) -> None:
    both = f"{TOKEN}, canary_previous-token-0123456789\n"
    settings = load_text(HERE + mode("dynamic"), GEMINI_WEBHOOK_TOKEN=both)
    assert (clients.dynamic_address(settings) or "").endswith(f"/{TOKEN}")
    later = load_text(HERE + SLACK, GEMINI_WEBHOOK_TOKEN=both)
    assert clients.dynamic_address(later) is None
    for each in (settings, later):
        door = clients.dynamic(each)  # what was asked for before the mode changed still comes
        assert door is not None
        assert door.knows(TOKEN)
        assert door.knows("canary_previous-token-0123456789")
        assert not door.knows(TOKEN[1:])
        assert "canary" not in repr(each) + repr(door)


@pytest.mark.parametrize("wrong", ["canary" * 5, "canary" * 50, "canary/" * 6, "canary+" * 6, "canaryä" * 6])
def test_a_token_is_long_and_safe_in_an_address(wrong: str, load_text: Any) -> None:
    told = fault(load_text, SLACK, GEMINI_WEBHOOK_TOKEN=wrong)
    assert told == (
        "environment GEMINI_WEBHOOK_TOKEN: webhooks.dynamic_tokens[0]: "
        "must be 32 to 256 letters, digits, - and _"
    )


def test_a_secret_may_end(load_text: Any) -> None:
    given = "whsec_AAAA whsec_BBBB;until=2026-12-01T00:00:00Z,whsec_CCCC;until=2026-12-01T01:00:00.5+01:00"
    webhooks = load_text(SLACK, GEMINI_WEBHOOK_SECRETS=given).webhooks
    assert [(secret.reveal(), until) for secret, until in webhooks.signing] == [
        ("whsec_AAAA", None),
        ("whsec_BBBB", datetime(2026, 12, 1, tzinfo=UTC)),
        ("whsec_CCCC", datetime(2026, 12, 1, microsecond=500_000, tzinfo=UTC)),
    ]


@pytest.mark.parametrize(
    "end",
    [
        "",
        "2026-12-01",
        "2026-12-01T00:00:00",
        "2026-13-01T00:00:00Z",
        "2026-12-01T00:00:00+99:00",
        "0001-01-01T00:00:00+01:00",
        "1795255207",
        "canary",
        "2026-12-01T00:00:00Z;until=2026-12-01T00:00:00Z",
        "２０２６-12-01T00:00:00Z",
    ],
)
def test_an_end_is_an_instant(end: str, load_text: Any) -> None:
    told = fault(load_text, SLACK, GEMINI_WEBHOOK_SECRETS=f"whsec_AAAA;until={end}")
    assert told == (
        "environment GEMINI_WEBHOOK_SECRETS: webhooks.secrets[0]: "
        "must end in ;until= and a time such as 2026-12-01T00:00:00Z"
    )


def test_one_secret_has_one_end(load_text: Any) -> None:
    told = fault(load_text, SLACK, GEMINI_WEBHOOK_SECRETS="whsec_AAAA whsec_AAAA;until=2026-12-01T00:00:00Z")
    assert told == "environment GEMINI_WEBHOOK_SECRETS: webhooks.secrets: names something twice"


def test_tokens_of_google_s_need_an_issuer_too(load_text: Any) -> None:
    told = fault(load_text, mode("static", ", jwt_audience: 'https://a.example'"))
    assert "webhooks.jwt_issuer: is missing; needed while webhooks.jwt_audience is set" in told
    both = mode("static", ", jwt_audience: 'https://a.example', jwt_issuer: google")
    assert load_text(both).webhooks.jwt_issuer == "google"
    for odd in ("''", "'a b'"):
        assert "webhooks.jwt_issuer: must be " in fault(load_text, mode("static", f", jwt_issuer: {odd}"))


@pytest.mark.parametrize(
    ("text", "state", "says"),
    [
        (HERE + mode("static"), "ok", "Gemini's webhook goes to https://agents.example.com/webhooks/gemini"),
        (
            HERE + mode("dynamic"),
            "ok",
            "each interaction names https://agents.example.com/webhooks/gemini/<token> as its webhook",
        ),
        (
            HERE + mode("poll"),
            "ok",
            "https://agents.example.com; no webhooks are expected, interactions are polled",
        ),
        (
            mode("poll"),
            "ok",
            "not set: cards carry no links; no webhooks are expected, interactions are polled",
        ),
        (mode("static"), "warn", "not set: Gemini cannot be told where we are, cards carry no links"),
    ],
)
def test_doctor_tells_the_address_of_that_way(text: str, state: str, says: str, load_text: Any) -> None:
    found = _address(load_text(text, GEMINI_WEBHOOK_TOKEN=TOKEN))
    assert (found.state, found.what, found.text) == (state, "public_url", says)
