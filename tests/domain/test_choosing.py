"""What may be chosen from, and what is an answer to that."""

from typing import Any

import pytest

from orchestrator.domain import choosing, human
from orchestrator.domain.choosing import CHOOSE_MEDIA
from orchestrator.domain.model import CallStatus, ToolCall
from orchestrator.errors import InvalidError

FILES = ["run_1/job_1-1.mp4", "run_1/job_2-1.mp4"]
ASKED = {"files": FILES, "question": "Which one?", "labels": None, "again_allowed": True}


def call(**changes: Any) -> ToolCall:
    return ToolCall("call_1", "c1", CHOOSE_MEDIA, {**ASKED, **changes}, CallStatus.AWAITING_APPROVAL)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({}, None),
        ({"labels": ["a", "a"]}, None),
        ({"files": []}, "files"),
        ({"files": FILES * 11}, "files"),
        ({"files": [FILES[0], FILES[0]]}, "files"),
        ({"files": ["../etc/passwd"]}, "files"),
        ({"files": ["run_1/.hidden"]}, "files"),
        ({"files": ["a/b/c/d/e"]}, "files"),
        ({"files": ["run_1/x\n"]}, "files"),
        ({"labels": ["one"]}, "labels"),
        ({"labels": ["one", "two\nlines"]}, "labels"),
    ],
)
def test_what_people_cannot_be_shown_is_named(changes: dict[str, Any], where: str | None) -> None:
    found = [path for path, _ in choosing.faults({**ASKED, **changes})]
    assert found == ([where] if where else [])


@pytest.mark.parametrize(
    ("answer", "where"),
    [
        ({"file": FILES[1], "number": 2}, []),
        ({"file": FILES[1]}, []),
        ({"number": 2}, []),
        ({"again": True, "note": "darker"}, []),
        (FILES[1], ["answer"]),
        ({}, ["answer"]),
        ({"file": "run_1/other.mp4"}, ["answer.file"]),
        ({"file": FILES[0], "number": 2}, ["answer.number"]),
        ({"number": 3}, ["answer.number"]),
        ({"number": True}, ["answer.number"]),
        ({"number": 1.0}, ["answer.number"]),
        ({"again": True, "note": " "}, ["answer.note"]),
        ({"again": True}, ["answer.note"]),
        ({"again": True, "note": "x" * 1_001}, ["answer.note"]),
        ({"again": False, "note": "x"}, ["answer.again"]),
        ({"again": True, "note": "x", "number": 1}, ["answer.number"]),
        ({"number": 1, "why": "nice"}, ["answer.why"]),
    ],
)
def test_an_answer_fits_or_says_where_not(answer: Any, where: list[str]) -> None:
    if not where:
        human.check(call(), answer)
        return
    with pytest.raises(InvalidError) as refused:
        human.check(call(), answer)
    assert [path for path, _ in refused.value.fields] == where


def test_others_are_asked_for_only_where_that_is_offered() -> None:
    with pytest.raises(InvalidError, match="no answer") as refused:
        human.check(call(again_allowed=False), {"again": True, "note": "darker"})
    assert [path for path, _ in refused.value.fields] == ["answer.again"]


def test_the_result_names_both_the_file_and_its_place() -> None:
    whole = {"answer": {"file": FILES[1], "number": 2}, "answered_by": "a person"}
    for given in ({"file": FILES[1]}, {"number": 2}, whole["answer"]):
        assert human.result(call(), given) == whole
    again = choosing.anew("darker")
    assert human.result(call(), again)["answer"] == again
    assert choosing.names(ASKED) == ("1", "2")
    assert choosing.names({**ASKED, "labels": ["dusk", "dusk"]}) == ("1. dusk", "2. dusk")
    assert choosing.picked(ASKED, 2) is None
