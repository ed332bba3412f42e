"""Terms that can be met: against a search through every way to fill the seats."""

import itertools
import random

import pytest

from orchestrator.domain.consent import Edits, Stage, Terms
from orchestrator.domain.terms import deciders, expand, faults
from orchestrator.errors import ConfigError

PEOPLE = ("U1", "U2", "U3", "U4")


def fillable(terms: Terms) -> bool:
    """Tried out: every yes of every stage by somebody else, none of them a person who may not decide."""
    seats = [
        [p for p in stage.approvers if p not in terms.never]
        for stage in terms.stages
        for _ in range(stage.quorum)
    ]
    return any(len(set(chosen)) == len(chosen) for chosen in itertools.product(*seats))


def test_separate_people_for_separate_stages() -> None:
    chance = random.Random(5)
    verdicts = []
    for _ in range(600):
        stages = tuple(
            Stage(name, tuple(chance.sample(PEOPLE, chance.randint(1, 4))), chance.randint(1, 2))
            for name in "abc"[: chance.randint(1, 3)]
        )
        terms = Terms((), stages=stages, never=tuple(chance.sample(PEOPLE, chance.randint(0, 1))))
        verdicts.append(not list(faults(terms)))
        assert verdicts[-1] is fillable(terms), terms
    assert 100 < sum(verdicts) < 500, "both kinds are tried"


def test_a_group_is_any_number_of_people() -> None:
    assert not list(faults(Terms(("S1",), quorum=9)))
    assert not list(faults(Terms((), stages=(Stage("a", ("S1",), 3), Stage("b", ("S1", "U1"))))))
    assert [key for key, _ in faults(Terms(("S1",), never=("S1",)))] == ["never"]


def test_somebody_else_must_be_left_to_approve_an_edit() -> None:
    def wrong(approvers: tuple[str, ...], quorum: int = 1) -> list[str]:
        return [key for key, _ in faults(Terms(approvers, quorum=quorum, edits=Edits.OTHER))]

    assert [wrong(("U1",)), wrong(("U1", "U2"), 2)] == [["edits"], ["edits"]]
    assert [wrong(("U1", "U2")), wrong(("S1",)), wrong(("U1", "S1"), 2)] == [[], [], []]
    staged = Terms((), stages=(Stage("a", ("U1", "U2")), Stage("b", ("U3",))), edits=Edits.OTHER)
    assert [key for key, _ in faults(staged)] == ["edits"]


def test_roles_are_spelled_out_once_and_do_not_nest() -> None:
    roles = {"a": ("U1", "U2"), "b": ("role:a",)}
    assert expand(("U2", "role:a", "api:ci"), roles) == ("U2", "U1", "api:ci")
    assert expand(("role:b",), roles) == ("role:a",)
    with pytest.raises(ConfigError, match="no role 'c'; known are a, b"):
        expand(("role:c",), roles)


def test_everybody_is_who_may_decide_in_any_step() -> None:
    staged = Terms((), stages=(Stage("a", ("U1", "U2")), Stage("b", ("U2", "U3"))), never=("U2",))
    assert deciders(staged) == ("U1", "U3")
    assert deciders(Terms(("U1", "U1"))) == ("U1",)
