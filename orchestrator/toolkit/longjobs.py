"""Jobs of minutes to days: what a tool gives back so that its call waits for them; two built-in tools.

    from orchestrator.toolkit import ToolContext, tool, video, wait_for

    @tool(approval="ask")
    async def trailer(scenes: list[str]) -> Waiting:
        return wait_for(*(video(scene, model="veo-3.1-generate-preview") for scene in scenes))

Nothing is made while the tool runs, so one that only says what it wants may be `idempotent`.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from orchestrator.domain import resubmission
from orchestrator.domain.joblife import MOST_JOBS
from orchestrator.domain.jobs import JobKind, JobWish
from orchestrator.domain.jobs import Waiting as Waiting
from orchestrator.domain.resubmission import MOST_KEYS, RESUBMIT_BATCH, RESUBMIT_VIDEO
from orchestrator.domain.values import replace
from orchestrator.errors import ToolError
from orchestrator.toolkit.declare import Tool, record_of, tool

GENERATE_VIDEO: Final = "generate_video"
RUN_BATCH: Final = "run_batch"
VIDEO_MODEL: Final = "veo-3.1-generate-preview"
BATCH_MODEL: Final = "gemini-3.8-flash"
MOST_FILMS: Final = 50
MOST_LINES: Final = 1_000
PROMPT_CHARS: Final = 4_000
MOST_BYTES: Final = 1024 * 1024
"""Of all prompts together: a thousand of a thousand characters."""


def video(prompt: str, *, model: str = VIDEO_MODEL, **parameters: Any) -> JobWish:
    """One film. `parameters` as the model takes them: Veo `aspectRatio`, `durationSeconds`, `negativePrompt`,
    others `aspect_ratio`, `duration` (`"8s"`), `resolution`.

    A model of Veo's is asked by its own long-running call, any other by an interaction (Gemini API, Video).

    Raises:
        ToolError: An empty or too long prompt.
    """
    if not 0 < len(prompt.strip()) <= PROMPT_CHARS:
        raise ToolError(f"a film needs a prompt of 1 to {PROMPT_CHARS} characters")
    kind = JobKind.VIDEO if _is_veo(model) else JobKind.VIDEO_INTERACTION
    return JobWish(kind, {"model": model, "prompt": prompt, "parameters": parameters})


def batch(lines: Iterable[tuple[str, Mapping[str, Any]]], *, model: str = BATCH_MODEL) -> JobWish:
    """One batch of requests at half the price, within a day (Gemini API, Batch).

    Args:
        lines: A key of its own for each, and its GenerateContentRequest.

    Raises:
        ToolError: No lines, too many, or two of one key.
    """
    named = [{"key": key, "request": dict(request)} for key, request in lines]
    keys = {line["key"] for line in named}
    if not 0 < len(named) <= MOST_LINES or len(keys) < len(named) or "" in keys:
        raise ToolError(f"a batch needs 1 to {MOST_LINES} lines, each with a key of its own")
    return JobWish(JobKind.BATCH, {"model": model, "lines": named})


def wait_for(*wishes: JobWish) -> Waiting:
    """What a tool returns so that its call waits for these; their results are the call's."""
    return Waiting(wishes)


def built_in(names: Iterable[str], *, video_model: str, batch_model: str) -> tuple[Tool, ...]:
    """Those of our own tools that are named; each is another version with another model."""
    wanted = set(names)
    made = ((GENERATE_VIDEO, _films, video_model), (RUN_BATCH, _batches, batch_model))
    again = tuple(make() for name, make in _AGAIN if name in wanted)
    return (*(make(model) for name, make, model in made if name in wanted), *again)


def _films(model: str) -> Tool:
    def what(prompts: list[str], seconds: int, aspect_ratio: str) -> str:
        return f"{_many(len(prompts), 'film')} of {seconds} seconds, {aspect_ratio}, made by {model}"

    @tool(name=GENERATE_VIDEO, approval="ask", idempotent=True, preview=what)
    def generate_video(
        prompts: Annotated[
            list[Annotated[str, Field(min_length=1, max_length=PROMPT_CHARS)]],
            Field(min_length=1, max_length=MOST_FILMS),
        ],
        seconds: Literal[4, 6, 8] = 8,
        aspect_ratio: Literal["16:9", "9:16"] = "16:9",
        negative_prompt: Annotated[str, Field(max_length=PROMPT_CHARS)] | None = None,
    ) -> Waiting:
        """Make short films, one for each prompt, and wait for them.

        The result lists them in the order of the prompts, each with the file it was stored as, or with
        what went wrong.

        Args:
            prompts: What each film shows, in full sentences.
            seconds: How long each of them is.
            aspect_ratio: 16:9 is wide, 9:16 is tall.
            negative_prompt: What must not be seen in any of them.
        """
        return wait_for(*(_film(model, p, seconds, aspect_ratio, negative_prompt) for p in prompts))

    return _of(generate_video, model)


def _film(model: str, prompt: str, seconds: int, ratio: str, unwanted: str | None) -> JobWish:
    """In the model's own words.

    Source: Gemini API, "Video": Veo's `parameters`, camel case; an interaction's `response_format`, snake
    case, without a place for what must not be seen.
    """
    if not _is_veo(model):
        text = prompt if unwanted is None else f"{prompt}\n\nMust not be seen: {unwanted}"
        return video(text, model=model, duration=f"{seconds}s", aspect_ratio=ratio)
    told: dict[str, Any] = {"durationSeconds": seconds, "aspectRatio": ratio}
    if unwanted is not None:
        told["negativePrompt"] = unwanted
    return video(prompt, model=model, **told)


def _is_veo(model: str) -> bool:
    return model.startswith("veo")


def _batches(model: str) -> Tool:
    def what(prompts: list[str]) -> str:
        return f"{_many(len(prompts), 'request')} in one batch to {model}, at half the price, within a day"

    @tool(name=RUN_BATCH, approval="ask", idempotent=True, preview=what)
    def run_batch(
        prompts: Annotated[
            list[Annotated[str, Field(min_length=1, max_length=PROMPT_CHARS)]],
            Field(min_length=1, max_length=MOST_LINES),
        ],
        instruction: Annotated[str, Field(max_length=PROMPT_CHARS)] | None = None,
    ) -> Waiting:
        """Put many questions to a model in one batch and wait for the answers, up to a day.

        The result names the file with one answer in each line, under the keys line-1, line-2 and so on in
        the order of the prompts, and says which lines failed.

        Args:
            prompts: The questions; each is answered by itself.
            instruction: Told to the model with every one of them.
        """
        said = {"systemInstruction": {"parts": [{"text": instruction}]}} if instruction else {}
        lines = (
            (f"line-{n}", {"contents": [{"role": "user", "parts": [{"text": prompt}]}], **said})
            for n, prompt in enumerate(prompts, 1)
        )
        return wait_for(batch(lines, model=model))

    return _of(run_batch, model)


def _again() -> Tool:
    def what(job: str, keys: list[str]) -> str:
        return f"{len(keys)} lines of the batch {job} once more, at half the price, within a day"

    @tool(name=RESUBMIT_BATCH, approval="ask", idempotent=True, preview=what)
    def resubmit_batch(
        job: Annotated[str, Field(min_length=1, max_length=64)],
        keys: Annotated[
            list[Annotated[str, Field(min_length=1, max_length=1_000)]],
            Field(min_length=1, max_length=MOST_KEYS),
        ],
    ) -> Waiting:
        """Put lines of a batch that were not answered into another batch, exactly as they were.

        Args:
            job: The batch they were in.
            keys: Which of its lines.
        """
        return wait_for(resubmission.wish(job, keys))

    record = record_of(resubmit_batch)
    assert record is not None  # noqa: S101  declared right above
    return record


def _films_again() -> Tool:
    def what(jobs: list[str]) -> str:
        return f"{_many(len(jobs), 'film')} once more; what was lost may have been made and billed before"

    @tool(name=RESUBMIT_VIDEO, approval="ask", idempotent=True, preview=what)
    def resubmit_video(
        jobs: Annotated[
            list[Annotated[str, Field(min_length=1, max_length=64)]],
            Field(min_length=1, max_length=MOST_JOBS),
        ],
    ) -> Waiting:
        """Make films anew whose starts had no answer and of which nothing was heard, exactly as they were.

        Args:
            jobs: Which of them.
        """
        return wait_for(*(resubmission.wish_like(job) for job in jobs))

    record = record_of(resubmit_video)
    assert record is not None  # noqa: S101  declared right above
    return record


_AGAIN: Final = ((RESUBMIT_BATCH, _again), (RESUBMIT_VIDEO, _films_again))


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _of(function: Any, model: str) -> Tool:
    record = record_of(function)
    assert record is not None  # noqa: S101  declared right above
    version = hashlib.sha256(f"{record.version}\0{model}".encode()).hexdigest()[:16]
    return replace(record, version=version, signature=replace(record.signature, most_bytes=MOST_BYTES))
