"""The two built-in scripts: the refund story of the demo, and one that makes do with any tools."""

from typing import Any, Final

from orchestrator.emulator.gemini import invent
from orchestrator.emulator.gemini.story import Result, Story, Turn

Json = dict[str, Any]

CALLS_PER_TURN: Final = 2
FALLBACK_AMOUNT: Final = 12.5  # in units of the order's currency
AMOUNTS: Final = ("total_cents", "amount_cents", "total", "amount")
RESULT_LENGTH: Final = 300


class Improvised:
    """Calls each declared function once, in declared order, two at a time; then sums up what came back."""

    name = "default"

    def has(self, number: int) -> bool:
        """It never runs out."""
        return True

    def turn(self, number: int, story: Story) -> Turn:
        """Calls while functions are left, then a text."""
        left = [name for name in story.tools if name not in story.called][:CALLS_PER_TURN]
        if left:
            return Turn(calls=tuple(_call(story, name) for name in left))
        return Turn(text=summary(story))


class Refund:
    """Looks an order up, refunds what the lookup says, tells how it went."""

    name = "refund"

    def fits(self, story: Story) -> bool:
        """The user speaks of a refund, and both functions are declared."""
        return "refund" in story.text.lower() and {"lookup_order", "refund_order"} <= set(story.tools)

    def has(self, number: int) -> bool:
        """Whatever comes after the third turn ends in a text."""
        return True

    def turn(self, number: int, story: Story) -> Turn:
        """Lookup, refund, text; a refused lookup goes straight to the text."""
        lookup, refund = story.last("lookup_order"), story.last("refund_order")
        if lookup is None and "lookup_order" in story.tools:
            return Turn(calls=(_call(story, "lookup_order", order_id=story.reference or None),))
        if lookup is None or lookup.is_error:
            return Turn(text=_sorry("look the order up", lookup))
        if refund is None and "refund_order" in story.tools:
            return Turn(calls=(_refund_call(story, lookup),))
        if refund is None or refund.is_error:
            return Turn(text=_sorry(f"refund order {_order(story, lookup)}", refund))
        return Turn(text=f"Order {_order(story, lookup)} has been refunded: {_short(refund)}")


def summary(story: Story) -> str:
    """What became of every call, in words."""
    if not story.results:
        return f"There was nothing to do for: {story.text}" if story.text else "There was nothing to do."
    lines = [
        f"{result.name} was refused: {_short(result)}"
        if result.is_error
        else f"{result.name}: {_short(result)}"
        for result in story.results
    ]
    return "Done. " + "; ".join(lines)


def _call(story: Story, name: str, **known: Any) -> Json:
    schema = story.tools[name].get("parameters", {})
    arguments = invent.arguments(schema, story.said, story.random)
    order = _property(schema, "order_id", "order", "id")
    if known.get("order_id") and order:
        arguments[order] = known["order_id"]
    return {"name": name, "arguments": arguments}


def _refund_call(story: Story, lookup: Result) -> Json:
    call = _call(story, "refund_order", order_id=_order(story, lookup))
    schema = story.tools["refund_order"].get("parameters", {})
    amount = _property(schema, "amount", "total")
    if amount:
        call["arguments"][amount] = _amount(lookup, amount, schema["properties"][amount])
    return call


def _order(story: Story, lookup: Result) -> str:
    found = lookup.fields.get("order_id") or lookup.fields.get("id")
    return found if isinstance(found, str) else story.reference


def _property(schema: Json, *words: str) -> str | None:
    """The property that is named with the first of the words that any is named with."""
    names = list(schema.get("properties", {}))
    return next((name for word in words for name in names if word in name.lower()), None)


def _amount(lookup: Result, wanted: str, schema: Json) -> float:
    """What the lookup says is owed, in the unit the property's name asks for."""
    source = next((name for name in AMOUNTS if _number(lookup.fields.get(name)) is not None), "total")
    value = _number(lookup.fields.get(source))
    value = FALLBACK_AMOUNT if value is None else value
    if "cents" in wanted and "cents" not in source:
        value = round(value * 100)
    elif "cents" in source and "cents" not in wanted:
        value = value / 100
    return int(value) if schema.get("type") == "integer" else value


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _sorry(what: str, result: Result | None) -> str:
    return f"I could not {what}: {_short(result) if result else 'no function for it was declared'}"


def _short(result: Result) -> str:
    return result.text[:RESULT_LENGTH]
