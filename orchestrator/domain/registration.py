"""What Gemini has on record about where it sends our events, held against what it should have.

    NONE         nothing is registered for our address: no delivery will ever come
    DISABLED     switched off by a person: it stays so until a person switches it on
    FAILING      switched off by Gemini after too many failed deliveries: may be switched on again
    OTHER_EVENTS enabled, but for other events than wanted
    STRANGE      in a state this program does not know
    WELL         enabled, for the events wanted
    UNASKED      not looked at yet, or Gemini did not answer

Source: Gemini API, Webhooks, resource `Webhook`; no event means anything here but a name.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from orchestrator.domain.values import Value

EVENTS: Final = (
    "batch.succeeded",
    "batch.expired",
    "batch.failed",
    "interaction.requires_action",
    "interaction.completed",
    "interaction.failed",
    "video.generated",
)
"""All that can be subscribed to, by the REST reference and by Gemini's own refusal of others."""

ENABLED: Final = "enabled"
DISABLED: Final = "disabled"
_PORTS: Final = {"http": 80, "https": 443}


class SecretHint(Value):
    """A signing secret as Gemini shows it afterwards: its last characters, and when it ends, if it does."""

    tail: str
    ends: datetime | None = None

    def fits(self, secret: str) -> bool:
        """Whether that may be the secret meant; a tail of under three characters says too little."""
        return len(self.tail) >= 3 and secret.endswith(self.tail)


class Registration(Value):
    """One registered webhook. `id` is bare, as addresses take it; `name` is a label of ours."""

    id: str
    uri: str
    state: str
    events: tuple[str, ...] = ()
    name: str = ""
    secrets: tuple[SecretHint, ...] = ()


class RegistrationState(StrEnum):
    """How our webhook stands; the module's docstring says what each means."""

    WELL = "well"
    OTHER_EVENTS = "other_events"
    FAILING = "failing"
    DISABLED = "disabled"
    STRANGE = "strange"
    NONE = "not_registered"
    UNASKED = "not_asked"


_BEST_FIRST: Final = tuple(RegistrationState)


class Judgement(Value):
    """How it stands, in a word and in a sentence, and the registration that is meant, if there is one."""

    standing: RegistrationState
    text: str
    registration: Registration | None = None

    @property
    def well(self) -> bool:
        return self.standing is RegistrationState.WELL


def same_address(one: str, other: str) -> bool:
    """Whether two addresses lead to one place, however the host is spelled and the port is left out."""
    try:
        return _place(one) == _place(other)
    except ValueError:
        return False


def _place(address: str) -> tuple[str, str, int | None, str, str]:
    parts = urlsplit(address)
    port = parts.port or _PORTS.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").rstrip("."), port, parts.path or "/", parts.query


def ours(registered: Sequence[Registration], address: str) -> list[Registration]:
    """Those that send to `address`."""
    return [r for r in registered if same_address(r.uri, address)]


def judge(registered: Sequence[Registration], *, address: str, events: Collection[str]) -> Judgement:
    """How our webhook stands. Of several for one address the best counts, since it does deliver."""
    verdicts = [_judge(r, events) for r in ours(registered, address)]
    if not verdicts:
        others = f"; {len(registered)} for other addresses" if registered else ""
        return Judgement(RegistrationState.NONE, f"no webhook is registered for our address{others}")
    best = min(verdicts, key=lambda v: _BEST_FIRST.index(v.standing))
    if len(verdicts) > 1:
        text = f"{best.text}; {len(verdicts)} webhooks are registered for our address, one is enough"
        return Judgement(best.standing, text, best.registration)
    return best


def _judge(registered: Registration, events: Collection[str]) -> Judgement:
    match registered.state:
        case "enabled":
            return _judge_events(registered, events)
        case "disabled":
            return Judgement(RegistrationState.DISABLED, "the webhook is switched off", registered)
        case "disabled_due_to_failed_deliveries":
            text = "Gemini has switched the webhook off: too many deliveries failed"
            return Judgement(RegistrationState.FAILING, text, registered)
        case _:
            return Judgement(
                RegistrationState.STRANGE, "the webhook is in a state this program does not know", registered
            )


def _judge_events(registered: Registration, events: Collection[str]) -> Judgement:
    missing, surplus = set(events) - set(registered.events), set(registered.events) - set(events)
    if not missing and not surplus:
        return Judgement(RegistrationState.WELL, "the webhook is registered and enabled", registered)
    told = [
        f"{word} {', '.join(sorted(names))}"
        for word, names in (("lacks", missing), ("has also", surplus))
        if names
    ]
    return Judgement(
        RegistrationState.OTHER_EVENTS,
        f"the webhook is for other events: it {' and '.join(told)}",
        registered,
    )
