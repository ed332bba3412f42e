"""A message or a window over many questions draws no more of them than it has room for."""

import json
from typing import Any

import pytest
from support.slack_cards import NOW, card

from orchestrator.domain.cards import Card, DigestCard
from orchestrator.domain.consent import Place
from orchestrator.slack import arguments, batches, digests, pages
from orchestrator.slack.text import Shown, first_of, least_of, render


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each drawing of arguments."""
    made: list[int] = []

    def counted(value: Any) -> Shown:
        made.append(1)
        return render(value)

    monkeypatch.setattr(arguments, "render", counted)
    return made


def many(count: int, characters: int) -> tuple[Card, ...]:
    return tuple(card({"note": "б" * characters, "n": n}, run_id=f"run_{n}") for n in range(count))


def test_a_line_of_a_digest_draws_the_beginning_alone(drawn: list[int]) -> None:
    digest = DigestCard("C0APPR/2026-11-21T15:00", Place("C0APPR", ""), NOW, many(30, 20_000), 0)
    told = str(digests.draw_digest(digest, now=NOW))
    assert "ббб" in told
    assert not drawn


def test_questions_too_large_for_one_window_are_not_drawn_to_find_that_out(drawn: list[int]) -> None:
    assert not batches.fits(many(20, 10_000))
    assert not pages.fits(many(1, 50_000)[0])
    assert digests.in_one_go(many(200, 50_000)) == ()
    assert not drawn


def test_of_many_questions_no_more_are_drawn_than_one_window_takes(drawn: list[int]) -> None:
    assert len(digests.in_one_go(many(200, 10))) == 20
    assert len(drawn) < 200


def test_what_is_taken_for_too_large_is() -> None:
    for value in (
        "б",
        "\u200b",
        "\U000e0041",
        '"',
        "\\",
        "\n",
        "\x01",
        "\U0001d400",
        " ",
        [[]],
        {"a": {}},
        1.5,
    ):
        whole = pages.of(render({"note": [value] * 50}), [], "Arguments")
        assert whole is not None
        assert least_of({"note": [value] * 50}) <= len(json.dumps(whole))


@pytest.mark.parametrize(
    "value", ["a\u202eb", "a\u00a0b", "a   b\n\tc", "б" * 300, "", "\u200b" * 300, [1, {"a": 2}]]
)
def test_a_beginning_is_one_line_with_nothing_hidden(value: Any) -> None:
    told = first_of({"note": value}, 100)
    assert len(told) <= 100
    assert told.isprintable()
    assert told.endswith("…") is (len(value) >= 300)


def test_what_has_no_form_in_json_has_no_beginning() -> None:
    assert first_of({"note": object()}, 100) == ""
    assert least_of({"note": object()}) == 0
