"""What people changed of a call's arguments, since it was proposed first."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from orchestrator.domain.consent import Actor
from orchestrator.domain.hidden import covered
from orchestrator.domain.plain import JsonObject, exact
from orchestrator.domain.values import Value


class Edited(Value):
    """That people changed them.

    `proposed` are the arguments as they were at first; `by` who changed them since, each once, and `at` when
    that was last. `hidden` are names of parameters that one of these proposals kept from view.
    """

    proposed: JsonObject
    by: tuple[Actor, ...]
    at: datetime
    hidden: frozenset[str] = frozenset()


def changes(edited: Edited, arguments: JsonObject, hidden: Collection[str]) -> dict[str, dict[str, Any]]:
    """What is not as it was, as people may see it.

    Args:
        arguments: As they are in the question.
        hidden: Names of parameters whose values nobody is shown, beside those that were hidden before.

    Returns:
        By name, what it was changed `from` and `to`; of one that was added or left out only one of these.
    """
    proposed, now = edited.proposed, arguments
    differ = [n for n in {**proposed, **now} if exact(_one(proposed, n)) != exact(_one(now, n))]
    unseen = {*hidden, *edited.hidden}
    sides = (("from", covered(proposed, unseen)), ("to", covered(now, unseen)))
    return {name: {side: of[name] for side, of in sides if name in of} for name in differ}


def _one(arguments: JsonObject, name: str) -> JsonObject:
    """That argument alone; nothing where it is not there, which is not the same as null."""
    return {name: arguments[name]} if name in arguments else {}
