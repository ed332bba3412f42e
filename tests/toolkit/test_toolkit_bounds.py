"""What a model wrote, or a tool returned, costs no more than its limit allows: steps count, not time."""

from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator import ToolContext
from orchestrator.errors import InvalidError
from orchestrator.toolkit.plain import PLACES, VALUE_BYTES, PlainError, size, weigh
from orchestrator.toolkit.results import ResultTooLargeError, encode
from orchestrator.toolkit.schema import MAX_ALTERNATIVES, read, refusal


class Counted(list[Any]):
    """A list that counts what is taken out of it, over all there are."""

    taken = 0

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            Counted.taken += 1
            yield item


class Read(str):
    """A text that is not to be read from end to end."""

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("all of it was read")


@pytest.fixture(autouse=True)
def _from_zero() -> None:
    Counted.taken = 0


def nested(lists: int, each: int) -> Counted:
    return Counted(Counted([1] * each) for _ in range(lists))


TOO_LARGE = [
    (nested(1_000, 1_000), "hold more than 8192 values"),
    (Counted(["x" * 4_000] * 8_000), "are larger than 64 KiB"),
]


@pytest.mark.parametrize(("value", "why"), TOO_LARGE)
def test_of_arguments_that_are_too_large_no_more_is_looked_at_than_may_be(value: Counted, why: str) -> None:
    with pytest.raises(PlainError, match=why):
        weigh({"x": value}, 64 * 1024)
    assert Counted.taken < 64 * 1024


@pytest.mark.parametrize(("value", "why"), TOO_LARGE)
def test_too_large_arguments_are_refused_before_they_are_copied(value: Counted, why: str) -> None:
    def wide(x: list[list[int]]) -> None:
        """Takes lists."""

    with pytest.raises(InvalidError, match=why) as refused:
        read(wide, ToolContext).check({"x": value})
    assert refused.value.fields == (("arguments", why),)
    assert Counted.taken < 64 * 1024


@pytest.mark.parametrize(("more", "fits"), [(-1, True), (0, True), (1, False)])
def test_the_values_in_arguments_are_bounded(more: int, fits: bool) -> None:
    """Each takes its time, however small: 64 KiB of empty lists took as long as 2 MB of text."""
    most = 64 * 1024
    value = {"x": [[]] * (most // VALUE_BYTES - 2 + more)}  # the whole is one, and the list
    if fits:
        weigh(value, most)
        return
    with pytest.raises(PlainError, match="hold more than 8192 values"):
        weigh(value, most)


@pytest.mark.parametrize(("more", "fits"), [(-1, True), (0, True), (1, False)])
def test_the_places_of_all_values_are_bounded_together(more: int, fits: bool) -> None:
    """A word about each of many values names the place of each."""
    most, name = 10_000, 1_000
    value = {
        "k" * name: [1] * (PLACES * most // name - 2),
        "l" * (name + more): 1,
    }  # the list has a place too
    if fits:
        weigh(value, most)
        return
    with pytest.raises(PlainError, match="under names that long"):
        weigh(value, most)


def test_a_name_of_a_problem_is_cut_before_it_is_read() -> None:
    refused = refusal([(Read("k" * 10_000), Read("t" * 10_000))])
    assert refused.fields == (("k" * 99 + "…", "t" * 199 + "…"),)


def test_many_problems_of_one_field_are_told_in_few_words() -> None:
    refused = refusal([("x", f"should be {n}") for n in range(10_000)])
    assert refused.fields[0][1].count(", or ") == MAX_ALTERNATIVES - 1


def test_of_a_result_that_is_too_large_no_more_is_read_than_could_be_sent() -> None:
    with pytest.raises(ResultTooLargeError):
        encode(nested(1_000, 1_000), 10_000)
    assert Counted.taken < 10_000


@pytest.mark.parametrize(
    "value",
    [[[], {}, "", None, True, 1, 2.5], {"": {"a": []}}, {}, [], "é", ["a" * 9, {"b": "c"}], {1: 2}],
    ids=str,
)
def test_what_just_fits_is_sent(value: Any) -> None:
    """Nothing is counted that its JSON has not."""
    sent = encode(value)
    assert encode(value, size(sent)) == sent
    with pytest.raises(ResultTooLargeError):
        encode(value, size(sent) - 1)
