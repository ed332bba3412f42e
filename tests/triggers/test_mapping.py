"""What goes from an entry or a body into a run, whatever strangers write there."""

from typing import Any

import pytest

from orchestrator.errors import ConfigError, InvalidError
from orchestrator.triggers.mapping import Mapped

SEEN: dict[str, Any] = {
    "occurrence": {"key": "k1", "trigger": "news", "at": "2026-11-22T10:00:00Z", "local": "", "missed": 0},
    "body": {"order": {"id": 17, "lines": [{"sku": "a"}, {"sku": "b"}], "total": 1.5}, "note": None},
}


def made(expression: str, body: Any = SEEN["body"]) -> Any:
    mapped = Mapped(None, {"it": expression}, ("occurrence", "body"))
    return mapped({**SEEN, "body": body})["it"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("body.order.id", 17),
        ("body.order.lines.map(l, l.sku)", ["a", "b"]),
        ('{"id": string(body.order.id), "n": body.note}', {"id": "17", "n": None}),
        ('has(body.gone) ? body.gone : "none"', "none"),
        ("timestamp(occurrence.at)", "2026-11-22T10:00:00+00:00"),
        ('duration("90s")', "90s"),
        ("body", SEEN["body"]),
    ],
)
def test_values(expression: str, expected: Any) -> None:
    assert made(expression) == expected


def test_text() -> None:
    text = Mapped('"Order " + string(body.order.id)', {}, ("occurrence", "body"))
    assert text(SEEN) == "Order 17"
    with pytest.raises(InvalidError, match="does not make a text"):
        Mapped("body.order.id", {}, ("occurrence", "body"))(SEEN)


@pytest.mark.parametrize(
    "expression",
    [
        "body.nope",
        "body.order.id / 0",
        "1.0 / 0.0",
        'b"x"',
        "{1: 2}",
        "body.order.id + 'x'",
        "body.note.x",
        "type(1)",
    ],
)
def test_what_cannot_be_made_is_said_without_values(expression: str) -> None:
    secret = {"order": {"id": 17, "lines": []}, "note": None, "pin": "canary"}
    with pytest.raises(InvalidError) as caught:
        made(expression, secret)
    assert "input.it" in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        [],
        "body.order",
        None,
        {"order": "ha"},
        {"order": {"id": {"id": "x"}}},
        {"order": {"id": "${7*7} {{7*7}} body.pin"}},
        {"order": {"id": 2**63 - 1}},
        {"order": {"id": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}},
    ],
)
def test_hostile_bodies_are_data_or_refused(body: Any) -> None:
    try:
        value = made("body.order.id", body)
    except InvalidError:
        return
    assert value == body["order"]["id"]  # as it came: nothing in it was evaluated


def test_endless_work_is_cut_off() -> None:
    many = {"n": list(range(300))}
    with pytest.raises(InvalidError):
        made("body.n.map(a, body.n.map(b, body.n.map(c, a * b * c)))", many)
    doubled = "body.t" + " + body.t" * 30
    with pytest.raises(InvalidError, match="characters"):
        made(doubled, {"t": "x" * 50_000})


@pytest.mark.parametrize("expression", ["body.n.map(a, body.t)", "body.n . map (a, body.m.map(b, body.t))"])
def test_many_copies_of_a_long_text_are_not_even_begun(expression: str) -> None:
    """The runtime would make gigabytes of it before anybody could count them."""
    body = {"n": [1] * 9000, "m": [2], "t": "x" * 30_000}
    with pytest.raises(InvalidError, match="too much for the expression"):
        made(expression, body)
    assert made("body.n.size()", body) == 9000
    assert made("body.n.map(a, a + body.m[0])", {**body, "n": [1] * 1000, "t": ""}) == [3] * 1000


@pytest.mark.parametrize(
    "expression", ["body.", "entry.title", "nope(body)", "import os", "body = 1", "body.t.matches(body.re)"]
)
def test_what_is_no_expression(expression: str) -> None:
    with pytest.raises(ConfigError, match=r"input\.it"):
        Mapped(None, {"it": expression}, ("occurrence", "body"))
