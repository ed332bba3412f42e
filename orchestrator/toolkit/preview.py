"""What a call would do, told by a function beside the tool: a diff, a cost, a target.

    def preview_refund(order_id: str, amount: Decimal) -> dict[str, object]:
        return {"order": order_id, "balance after": balance_of(order_id) - amount}

    @tool(preview=preview_refund)
    def refund_order(order_id: str, amount: Decimal, ctx: ToolContext) -> dict[str, str]: ...

It only looks: it may run any number of times, before people are asked and again before the tool starts, and
is given nothing to act with, no idempotency key above all. What it returns is made one text; the text is
what people see, what is sealed, and what is compared.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_type_hints

from orchestrator.domain.consent import SYSTEM, Actor
from orchestrator.errors import ConfigError
from orchestrator.toolkit.plain import PlainError, give

TIMEOUT_SECONDS: Final = 10.0
MAX_TIMEOUT_SECONDS: Final = 60.0
"""People wait for it, and so does an approved call."""
MAX_CHARS: Final = 4000
"""Of the text; all of it has to fit on a card."""


@dataclass(frozen=True, slots=True)
class PreviewContext:
    """What a preview may know beside the arguments. A parameter annotated with it is filled in.

    Args:
        run_id: The run the call belongs to.
        workflow: Its workflow's name.
        requester: Who started the run.
    """

    run_id: str = ""
    workflow: str = ""
    requester: Actor = SYSTEM


@dataclass(frozen=True, slots=True)
class Preview:
    """A tool's preview. `foretell` is called in one place only: `execute.py`.

    `parameters` are those of the tool it takes; `context` names the one that gets the `PreviewContext`.
    """

    foretell: Callable[..., Any]
    parameters: tuple[str, ...]
    context: str | None
    is_async: bool
    timeout_seconds: float
    required: bool


def read(
    function: Callable[..., Any], known: tuple[str, ...], timeout_seconds: float, *, required: bool
) -> Preview:
    """The record of a preview function.

    Args:
        known: The tool's parameters.

    Raises:
        ConfigError: It is no plain function, takes something the tool does not, or a setting cannot be used.
    """
    if not inspect.isfunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigError(f"preview: {function!r} is neither a plain function nor an async one")
    if inspect.isasyncgenfunction(function):
        raise ConfigError(f"preview: {function.__qualname__} returns one value, it does not yield")
    if not 0 < timeout_seconds <= MAX_TIMEOUT_SECONDS:
        raise ConfigError(f"preview_timeout_seconds: should be above 0 and at most {MAX_TIMEOUT_SECONDS:g}")
    parameters, context = _parameters(function, known)
    is_async = inspect.iscoroutinefunction(function)
    return Preview(function, parameters, context, is_async, float(timeout_seconds), required)


def _parameters(function: Callable[..., Any], known: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    own, contexts = [], []
    try:
        hints = get_type_hints(function)
    except Exception as error:  # a forward reference may fail in any way
        raise ConfigError(f"preview: annotations of {function.__qualname__}: {error}") from error
    for parameter in inspect.signature(function).parameters.values():
        here = f"preview: {function.__qualname__}, parameter {parameter.name!r}"
        if hints.get(parameter.name) is PreviewContext:
            contexts.append(parameter.name)
        elif parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigError(f"{here}: is passed by name, so it needs one of its own")
        elif parameter.name not in known:
            raise ConfigError(f"{here}: is no parameter of the tool; these are {', '.join(known) or 'none'}")
        else:
            own.append(parameter.name)
    if len(contexts) > 1:
        raise ConfigError(f"preview: {function.__qualname__} takes {len(contexts)} PreviewContexts")
    return tuple(own), contexts[0] if contexts else None


def encode(value: Any) -> str:
    """Text as it is, or a flat mapping of plain values as JSON with its keys in order.

    Equal previews give equal text, whatever the order somebody put things in.

    Raises:
        PlainError: Neither of the two, empty, or longer than `MAX_CHARS`.
    """
    plain = give(value)
    if isinstance(value, Mapping):
        nested = [key for key, held in plain.items() if isinstance(held, dict | list)]
        if nested:
            raise PlainError(nested[0], "is nested; a preview is text or a flat mapping")
        text = json.dumps(plain, ensure_ascii=False, indent=2, sort_keys=True) if plain else ""
    elif isinstance(plain, str) and isinstance(value, str):
        text = plain
    else:
        raise PlainError("", f"is a {type(value).__name__}; a preview is text or a flat mapping")
    if not text.strip():
        raise PlainError("", "is empty")
    if len(text) > MAX_CHARS:
        raise PlainError("", f"has {len(text)} characters; a preview has at most {MAX_CHARS}")
    return text
