"""`choose_media`: declared and checked like a tool, put to people always, and never run."""

from typing import Any

import pytest

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.choosing import CHOOSE_MEDIA
from orchestrator.domain.consent import Terms
from orchestrator.domain.model import OutcomeKind
from orchestrator.errors import ConfigError
from orchestrator.toolkit import Toolkit, media, tool
from orchestrator.toolkit.execute import NOT_FOR_US

FILES = ["run_1/job_1-1.mp4", "run_1/job_2-1.mp4"]


def test_the_model_is_told_how_to_have_people_choose(bench: Any) -> None:
    (declared,) = bench(media.TOOL).toolkit.declarations([CHOOSE_MEDIA])
    assert declared["name"] == CHOOSE_MEDIA
    assert set(declared["parameters"]["properties"]) == {"files", "question", "labels", "again_allowed"}
    assert declared["parameters"]["required"] == ["files"]


def test_people_are_asked_with_all_that_was_left_out_filled_in(bench: Any) -> None:
    found = bench(media.TOOL, defaults=Terms(("U1",), "C1")).find({"files": FILES})
    assert found.ruling is Ruling.ASK
    assert found.arguments == {
        "files": FILES,
        "question": "Which one?",
        "labels": None,
        "again_allowed": True,
    }
    assert found.terms is not None
    assert found.terms.answers


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"files": []}, "- files"),
        ({"files": ["../../etc/passwd"]}, "- files"),
        ({"files": [FILES[0], FILES[0]]}, "- files: should all differ"),
        ({"files": FILES, "labels": ["one"]}, "- labels: should be as many as files"),
        ({"files": FILES, "question": "x" * 2_001}, "- question"),
        ({"files": [f"run_1/job_{n}.mp4" for n in range(21)]}, "- files"),
    ],
)
def test_what_people_cannot_be_shown_is_refused(bench: Any, wish: dict[str, Any], told: str) -> None:
    found = bench(media.TOOL).find(wish)
    assert found.ruling is Ruling.INVALID
    assert told in found.reason


@pytest.mark.asyncio
async def test_nothing_runs_by_it_and_its_name_is_ours(bench: Any) -> None:
    outcome = await bench(media.TOOL).run({"files": FILES})
    assert (outcome.kind, outcome.result) == (OutcomeKind.FAILED, NOT_FOR_US)
    with pytest.raises(ConfigError, match="without a person"):
        Toolkit([media.TOOL], defaults=Terms(("U1",)), overrides={CHOOSE_MEDIA: {"approval": "allow"}})

    @tool(name=CHOOSE_MEDIA)
    def mine() -> None:
        """Take the name."""

    with pytest.raises(ConfigError, match="built-in"):
        Toolkit([mine])
