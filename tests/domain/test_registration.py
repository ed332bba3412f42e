"""How our webhook stands, out of what Gemini has on record."""

import pytest

from orchestrator.domain.registration import (
    EVENTS,
    Registration,
    RegistrationState,
    SecretHint,
    judge,
    same_address,
)

OURS = "https://agents.example.com/webhooks/gemini"


def hook(
    name: str = "h1", *, uri: str = OURS, state: str = "enabled", events: tuple[str, ...] = EVENTS
) -> Registration:
    return Registration(name, uri, state, events)


@pytest.mark.parametrize(
    ("registered", "standing", "words"),
    [
        ([], RegistrationState.NONE, "no webhook is registered for our address"),
        ([hook(uri="https://else.example/x")], RegistrationState.NONE, "our address; 1 for other addresses"),
        ([hook()], RegistrationState.WELL, "registered and enabled"),
        ([hook(events=EVENTS[::-1])], RegistrationState.WELL, "registered and enabled"),
        ([hook(events=EVENTS[1:])], RegistrationState.OTHER_EVENTS, "it lacks batch.succeeded"),
        ([hook(events=(*EVENTS, "new.one"))], RegistrationState.OTHER_EVENTS, "it has also new.one"),
        ([hook(state="disabled")], RegistrationState.DISABLED, "switched off"),
        (
            [hook(state="disabled_due_to_failed_deliveries")],
            RegistrationState.FAILING,
            "too many deliveries failed",
        ),
        ([hook(state="paused")], RegistrationState.STRANGE, "a state this program does not know"),
        (
            [hook(state="disabled"), hook("h2")],
            RegistrationState.WELL,
            "2 webhooks are registered for our address",
        ),
    ],
)
def test_what_counts_is_address_state_and_events(
    registered: list[Registration], standing: RegistrationState, words: str
) -> None:
    verdict = judge(registered, address=OURS, events=EVENTS)
    assert (verdict.standing, verdict.well) == (standing, standing is RegistrationState.WELL)
    assert words in verdict.text
    assert (verdict.registration is None) is (standing is RegistrationState.NONE)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("https://AGENTS.example.com:443/webhooks/gemini", True),
        ("https://agents.example.com/webhooks/gemini/", False),
        ("http://agents.example.com/webhooks/gemini", False),
        ("https://agents.example.com:8443/webhooks/gemini", False),
        ("https://agents.example.com:none/webhooks/gemini", False),
        ("https://agents.example.com.evil.example/webhooks/gemini", False),
    ],
)
def test_one_address_may_be_spelled_in_several_ways(other: str, same: bool) -> None:
    assert same_address(OURS, other) is same


def test_a_hint_of_too_few_characters_fits_nothing() -> None:
    assert SecretHint("Hh8=").fits("whsec_AAECHh8=")
    assert not SecretHint("Hh9=").fits("whsec_AAECHh8=")
    assert not SecretHint("8=").fits("whsec_AAECHh8=")
