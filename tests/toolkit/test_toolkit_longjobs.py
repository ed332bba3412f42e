"""What a tool gives back so that its call waits for jobs, and the built-in tools that do."""

import asyncio

import pytest

from orchestrator.domain.assessment import CallContext, Ruling
from orchestrator.domain.consent import Actor, Terms
from orchestrator.domain.exchange import FunctionCall
from orchestrator.domain.jobs import JobKind, Waiting
from orchestrator.domain.model import Outcome, OutcomeKind, Recipe
from orchestrator.errors import ToolError
from orchestrator.toolkit import Toolkit, batch, tool, video, wait_for
from orchestrator.toolkit.confirm import confirming
from orchestrator.toolkit.longjobs import GENERATE_VIDEO, MOST_FILMS, MOST_LINES, RUN_BATCH, built_in

pytestmark = pytest.mark.asyncio
CONTEXT = CallContext("call_1", "run_1", "films", Actor("U0ALICE"))
BOTH = (GENERATE_VIDEO, RUN_BATCH)


def kit(*names: str, model: str = "veo-3.1-generate-preview") -> Toolkit:
    tools = built_in(names, video_model=model, batch_model="gemini-3.8-flash")
    return Toolkit(tools, defaults=Terms(approvers=("U0ALICE",)))


async def run(toolkit: Toolkit, name: str, **arguments: object) -> Outcome | Waiting:
    finding = toolkit.find(Recipe("films", model="m", tools=BOTH), FunctionCall("c1", name, dict(arguments)))
    assert finding.ruling is Ruling.ASK, finding.reason
    return await toolkit.execute(name, finding.arguments, CONTEXT, asyncio.Event())


async def test_films_are_wished_one_for_each_prompt() -> None:
    waiting = await run(kit(*BOTH), GENERATE_VIDEO, prompts=["a harbour", "a storm"], seconds=6)
    assert isinstance(waiting, Waiting)
    assert [w.request["prompt"] for w in waiting.wishes] == ["a harbour", "a storm"]
    assert waiting.wishes[0].kind is JobKind.VIDEO
    assert waiting.wishes[0].request["parameters"] == {"durationSeconds": 6, "aspectRatio": "16:9"}
    omni = kit(*BOTH, model="gemini-omni-1.2-flash")
    other = await run(omni, GENERATE_VIDEO, prompts=["a harbour"], seconds=6, negative_prompt="people")
    assert isinstance(other, Waiting)
    assert other.wishes[0].kind is JobKind.VIDEO_INTERACTION
    assert other.wishes[0].request["parameters"] == {"duration": "6s", "aspect_ratio": "16:9"}
    assert other.wishes[0].request["prompt"] == "a harbour\n\nMust not be seen: people"


async def test_a_batch_has_a_line_for_each_prompt() -> None:
    waiting = await run(kit(*BOTH), RUN_BATCH, prompts=["one", "two"], instruction="Be brief.")
    assert isinstance(waiting, Waiting)
    (wish,) = waiting.wishes
    assert [line["key"] for line in wish.request["lines"]] == ["line-1", "line-2"]
    told = wish.request["lines"][1]["request"]
    assert told["contents"] == [{"role": "user", "parts": [{"text": "two"}]}]
    assert told["systemInstruction"] == {"parts": [{"text": "Be brief."}]}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        (GENERATE_VIDEO, {"prompts": []}),
        (GENERATE_VIDEO, {"prompts": ["x"] * (MOST_FILMS + 1)}),
        (GENERATE_VIDEO, {"prompts": [""]}),
        (GENERATE_VIDEO, {"prompts": ["x"], "seconds": 5}),
        (RUN_BATCH, {"prompts": ["x"] * (MOST_LINES + 1)}),
        (RUN_BATCH, {"prompts": "x"}),
    ],
)
async def test_what_does_not_fit_is_told_to_the_model(name: str, arguments: dict[str, object]) -> None:
    found = kit(*BOTH).find(Recipe("films", tools=BOTH), FunctionCall("c1", name, arguments))
    assert found.ruling is Ruling.INVALID


async def test_a_thousand_prompts_of_a_thousand_characters_are_one_batch() -> None:
    waiting = await run(kit(*BOTH), RUN_BATCH, prompts=["x" * 1_000] * MOST_LINES)
    assert isinstance(waiting, Waiting)
    assert len(waiting.wishes[0].request["lines"]) == MOST_LINES
    more = FunctionCall("c1", RUN_BATCH, {"prompts": ["x" * 1_100] * MOST_LINES})
    finding = kit(*BOTH).find(Recipe("films", model="m", tools=BOTH), more)
    assert finding.ruling is Ruling.INVALID
    assert "arguments: are larger than 1024 KiB" in finding.reason


async def test_another_model_is_another_tool_so_an_approval_does_not_hold_for_it() -> None:
    wish = FunctionCall("c1", GENERATE_VIDEO, {"prompts": ["x"]})
    recipe = Recipe("films", tools=BOTH)
    versions = {kit(*BOTH, model=m).find(recipe, wish).tool_version for m in ("veo-3.1", "veo-4")}
    assert len(versions) == 2
    preview = await kit(*BOTH).preview(
        GENERATE_VIDEO, {"prompts": ["x"], "seconds": 8, "aspect_ratio": "9:16"}, CONTEXT
    )
    assert preview.text == "1 film of 8 seconds, 9:16, made by veo-3.1-generate-preview"


async def test_only_what_is_named_is_there() -> None:
    assert [t.name for t in kit(RUN_BATCH).tools] == [RUN_BATCH]
    assert kit().tools == ()


async def test_a_tool_of_ones_own_may_wait() -> None:
    @tool(approval="allow")
    def trailer(scenes: list[str]) -> Waiting:
        """Make a film of each scene.

        Args:
            scenes: What they show.
        """
        return wait_for(*(video(scene) for scene in scenes))

    toolkit = Toolkit([trailer])
    waiting = await toolkit.execute("trailer", {"scenes": ["a"]}, CONTEXT, asyncio.Event())
    assert isinstance(waiting, Waiting)
    refused = await toolkit.execute("trailer", {"scenes": [" "]}, CONTEXT, asyncio.Event())
    assert isinstance(refused, Outcome)
    assert "prompt of 1 to" in str(refused.result)


async def test_lines_need_keys_of_their_own() -> None:
    line = ("a", {"contents": []})
    for lines in ([], [line, line], [("", {})], [(str(n), {}) for n in range(MOST_LINES + 1)]):
        with pytest.raises(ToolError, match="1 to 1000 lines"):
            batch(lines)
    assert len(batch([(str(n), {}) for n in range(MOST_LINES)]).request["lines"]) == MOST_LINES


async def test_an_approval_step_is_a_tool_that_asks_and_only_says_yes() -> None:
    toolkit = Toolkit([confirming("confirm_review_legal")], defaults=Terms(approvers=("U0ALICE",)))
    recipe = Recipe("review", tools=("confirm_review_legal",))
    found = toolkit.find(recipe, FunctionCall("c1", "confirm_review_legal", {"facts": {"n": 1}}))
    assert found.ruling is Ruling.ASK
    done = await toolkit.execute("confirm_review_legal", found.arguments, CONTEXT, asyncio.Event())
    assert isinstance(done, Outcome)
    assert done.kind is OutcomeKind.SUCCEEDED
    assert isinstance(done.result, dict)
    assert (done.result["confirmed"], done.result["facts"]) == (True, {"n": 1})
