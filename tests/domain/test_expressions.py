"""What an expression may cost: reckoned from how it is written and from what it is asked over."""

from typing import Any

import pytest

from orchestrator.domain.expressions import MOST_WORK, Effort, bare, effort
from orchestrator.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("args.a > 5", Effort()),
        ('args.a in ["x"] && args.b.matches("(x+)+y")', Effort()),
        ("args.b.all(x, x < 5 && x.name.endsWith('q'))", Effort(1)),
        ("args.b.all(x, x.l.all(y, y > 0))", Effort(2)),
        ("args.b.all(x, x > 0) && args.c.exists_one(y, y > 0)", Effort(1)),
        ("args.b.exists(x, x in args.c)", Effort(1, again=True)),
        ("args.b .\texists ( x , x in args.c)", Effort(1, again=True)),
        ("args.b.exists(x, x == (1) || x == args['c'])", Effort(1, again=True)),
        ("args.b.all(x, x.l.all(y, y != x.m))", Effort(2, again=True)),
        ("args.b.map(x, x.n)", Effort(1, builds=True)),
        ("args.b.filter(x, args.c == x)", Effort(1, again=True, builds=True)),
        ("args.b.all(x, x != 'args') // args.b.map(x, args.c)", Effort(1)),
        ("args.b.all(x, x != ')') && args.a == 1", Effort(1)),
        ("args.map.size() > args.filter", Effort()),
    ],
)
def test_an_expression_is_read_for_what_it_goes_through(text: str, expected: Effort) -> None:
    assert effort(text, ("args",)) == expected


@pytest.mark.parametrize(
    ("text", "seen", "steps", "each"),
    [
        ("args.b.exists(x, x in args.c)", {"b": [1] * 900, "c": ["x"] * 90}, 900, 992 + 1),
        ("args.b.exists(x, args.c.contains(x))", {"b": ["x"] * 900, "c": "x" * 90}, 900, 902 + 90),
        ("args.b.map(x, x)", {"b": [{"n": 1}] * 900}, 900, 900),
        ("args.b.all(x, x.l.all(y, y != x.m))", {"b": [{"l": [1] * 8}] * 200}, 10_000, 1801 + 200 + 1),
    ],
)
def test_the_bound(
    monkeypatch: pytest.MonkeyPatch, text: str, seen: dict[str, Any], steps: int, each: int
) -> None:
    known = effort(text, ("args",))
    work = steps * each
    for most, bears in ((work - 1, False), (work, True), (work + 1, True)):
        monkeypatch.setattr("orchestrator.domain.expressions.MOST_WORK", most)
        assert known.bears(seen) is bears


def test_what_looks_at_each_item_once_may_be_asked_over_anything() -> None:
    seen = {"b": ["x" * 100] * MOST_WORK}
    assert effort("args.b.all(x, x.size() < 200)", ("args",)).bears(seen)


@pytest.mark.parametrize(
    "text", ["args.a.matches(args.b)", "matches(args.a, args.b)", 'args.b.all(x, "q".matches("q" + x))']
)
def test_a_pattern_is_the_operators_own(text: str) -> None:
    with pytest.raises(ConfigError, match="pattern"):
        effort(text, ("args",))


def test_texts_and_comments_hold_no_names() -> None:
    assert bare("args.a == \"it's // no\" // it's\n|| r'\\d' == 'b'") == 'args.a == "" \n|| "" == ""'
