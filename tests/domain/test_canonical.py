"""What is spelled and copied the quick way is the same as the slow way makes it."""

import dataclasses

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.model import Turn
from orchestrator.domain.plain import canonical
from orchestrator.domain.values import replace

NUMBERS = st.integers() | st.floats(allow_nan=True) | st.floats(-1e3, 1e3) | st.floats(9e14, 2e15)
TEXTS = st.text() | st.text(st.characters(codec=None))
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(max_size=3), inner),
)


@given(JSON)
def test_a_quick_spelling_is_the_canonical_one(value: object) -> None:
    quick = canonical(value)
    assert quick is None or quick == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "value", [-0.0, 3.0, 1e-5, 1e16, 2**53, {"é": 1, "z": 2}, "\ud800", float("nan"), {1}]
)
def test_what_the_two_spell_otherwise_is_left_to_the_slow_way(value: object) -> None:
    assert canonical(value) is None


def test_a_value_never_changes_and_is_given_other_fields() -> None:
    turn = Turn(3, said="so")
    with pytest.raises(AttributeError):
        turn.said = "no"  # type: ignore[misc]
    assert replace(turn, attempt=2, note="on") == Turn(3, attempt=2, said="so", note="on")
    assert turn == Turn(3, said="so")
    with pytest.raises(TypeError, match="no_such"):
        replace(turn, no_such=1)


def test_a_dataclass_is_given_other_fields_too() -> None:
    @dataclasses.dataclass(frozen=True)
    class Named:
        a: int
        b: int = dataclasses.field(kw_only=True)

    assert replace(Named(1, b=2), b=3) == Named(1, b=3)
    with pytest.raises(TypeError, match="no_such"):
        replace(Named(1, b=2), no_such=1)  # type: ignore[call-arg]
