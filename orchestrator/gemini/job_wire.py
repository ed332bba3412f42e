"""The JSON of videos and batches and our values, both ways. Pure, as `wire.py`, and as tolerant.

Video has two roads. Veo is an operation, begun by the raw call: `client.models.generate_videos` of the
library works on the enterprise platform only, where it takes no webhook, and raises on the Developer API;
so it is not used here. Newer video models are interactions.

Source: Gemini API, "Video", "Batch API" (v1beta), read with google-genai 3.4.0.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from orchestrator.domain.effects import start_subject
from orchestrator.domain.jobs import MAX_REMOTE, JobKind, JobOrder, JobReading, JobState, attempt_of
from orchestrator.domain.plain import JsonObject
from orchestrator.errors import RejectedError, UnreadAnswerError
from orchestrator.gemini import wire

_WORD: Final = r"[A-Za-z0-9_][A-Za-z0-9_.=-]{0,255}"
_MODEL: Final = re.compile(rf"(?:models/)?({_WORD})")
_OPERATION: Final = re.compile(rf"models/{_WORD}/operations/{_WORD}")
_BATCH: Final = re.compile(rf"batches/{_WORD}")
_FILE: Final = re.compile(r"files/[A-Za-z0-9_-]{1,128}")
_FILE_IN_PATH: Final = re.compile(r"/(files/[A-Za-z0-9_-]{1,128})(?::download)?\Z")
_JOB: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_START: Final = re.compile(r"([A-Za-z0-9_-]{1,128})\.([1-9][0-9]{0,8})")
_COUNTS: Final = {
    "requests": "requestCount",
    "succeeded": "successfulRequestCount",
    "failed": "failedRequestCount",
}
_BATCH_STATES: Final = {
    "": JobState.LIVE,
    "UNSPECIFIED": JobState.LIVE,
    "PENDING": JobState.LIVE,
    "QUEUED": JobState.LIVE,
    "RUNNING": JobState.LIVE,
    "SUCCEEDED": JobState.DONE,
    "FAILED": JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
    "EXPIRED": JobState.EXPIRED,
}
_INTERACTION_STATES: Final = {
    "queued": JobState.LIVE,
    "in_progress": JobState.LIVE,
    "completed": JobState.DONE,
    "incomplete": JobState.DONE,
    "budget_exceeded": JobState.DONE,
    "failed": JobState.FAILED,
    "cancelled": JobState.CANCELLED,
}


def is_remote(kind: JobKind, remote: str) -> bool:
    """Whether it may be the name of such a job, is no longer than is kept, and may stand in an address."""
    if len(remote) > MAX_REMOTE:
        return False
    match kind:
        case JobKind.VIDEO:
            return _OPERATION.fullmatch(remote) is not None
        case JobKind.BATCH:
            return _BATCH.fullmatch(remote) is not None
        case JobKind.VIDEO_INTERACTION:
            return wire.is_interaction_id(remote)


# ------------------------------------------------------------------ out


def model(order: JobOrder) -> str:
    """The model it is for, without `models/`. Raises `RejectedError`: it cannot be one."""
    found = _MODEL.fullmatch(str(order.request.get("model", "")))
    if found is None:
        raise RejectedError(f"request.model must be a model's name, for {order.kind}", code="invalid_request")
    return found.group(1)


def _hooks(order: JobOrder, uris: Sequence[str]) -> JsonObject:
    metadata = {"job": order.id, "run": order.run_id, "attempt": str(order.attempt)}
    return {**({"uris": list(uris)} if uris else {}), "user_metadata": metadata}


def _prompt(order: JobOrder) -> tuple[str, Mapping[str, Any]]:
    prompt, parameters = order.request.get("prompt"), order.request.get("parameters") or {}
    if not isinstance(prompt, str) or not prompt.strip() or not isinstance(parameters, Mapping):
        raise RejectedError("a video needs request.prompt, a text, and parameters", code="invalid_request")
    return prompt, parameters


def video_body(order: JobOrder, uris: Sequence[str]) -> JsonObject:
    """Of `:predictLongRunning`; the metadata stays in snake case inside the camel case body."""
    prompt, parameters = _prompt(order)
    return {
        "instances": [{"prompt": prompt}],
        "parameters": dict(parameters),
        "webhookConfig": _hooks(order, uris),
    }


def video_interaction_body(order: JobOrder, uris: Sequence[str]) -> JsonObject:
    """Of an interaction; the parameters (`aspect_ratio`, `duration`, `resolution`) are its format's."""
    prompt, parameters = _prompt(order)
    return {
        "model": model(order),
        "input": prompt,
        "background": True,
        "store": True,
        "response_format": {**parameters, "type": "video", "delivery": "uri"},
        "webhook_config": _hooks(order, uris),
    }


def lines(order: JobOrder) -> list[tuple[str, JsonObject]]:
    """Key and request of each line the order holds. Raises `RejectedError`: keys missing or doubled."""
    found, keys = [], set[str]()
    for position, line in enumerate(_list(order.request.get("lines"))):
        key, request = _get(line, "key"), _get(line, "request")
        if not isinstance(key, str) or not key or key in keys or not isinstance(request, Mapping):
            raise RejectedError(
                f"request.lines[{position}] must have a key of its own and a request", code="invalid_request"
            )
        keys.add(key)
        found.append((key, request))
    if not found:
        raise RejectedError("a batch needs request.lines or request.file", code="invalid_request")
    return found


def batch_body(order: JobOrder, source: JsonObject, uris: Sequence[str]) -> JsonObject:
    """Of `:batchGenerateContent`; `source` is what `inline` or `from_file` made."""
    name = start_subject(order.id, order.attempt)
    return {"batch": {"displayName": name, "inputConfig": source, "webhookConfig": _hooks(order, uris)}}


def inline(requests: Sequence[tuple[str, JsonObject]]) -> JsonObject:
    listed = [{"request": request, "metadata": {"key": key}} for key, request in requests]
    return {"requests": {"requests": listed}}


def from_file(name: str) -> JsonObject:
    return {"fileName": name}


# ------------------------------------------------------------------ in: where it stands


def reading(kind: JobKind, raw: object) -> JobReading:
    """What one answer says about a job.

    Raises:
        UnreadAnswerError: It is none: no object, no usable name.
    """
    match kind:
        case JobKind.VIDEO_INTERACTION:
            return _interaction(raw)
        case JobKind.VIDEO:
            return _operation(_named(kind, raw))
        case JobKind.BATCH:
            return _batch(_named(kind, raw))


def _named(kind: JobKind, raw: object) -> Mapping[str, Any]:
    name = _get(raw, "name")
    if not isinstance(raw, Mapping) or not isinstance(name, str) or not is_remote(kind, name):
        raise UnreadAnswerError(f"the answer names no {kind}")
    return raw


def _interaction(raw: object) -> JobReading:
    seen = wire.snapshot(raw)
    state = _INTERACTION_STATES.get(seen.status, JobState.STRANGE)
    said = seen.errors[0] if state is JobState.FAILED and seen.errors else seen.status
    sent_along = _sent_along(raw, "webhook_config")
    return JobReading(seen.interaction_id, state, said, job=_job(sent_along), attempt=attempt_of(sent_along))


def _operation(raw: Mapping[str, Any]) -> JobReading:
    """There is no status besides `done`; a failure is an `error`, whatever else is there."""
    name, error = raw["name"], _reason(raw.get("error"))
    echoed = _sent_along(raw, "webhookConfig") or _sent_along(raw.get("metadata"), "webhookConfig")
    done = raw.get("done", False)
    if error:
        state, said = JobState.FAILED, error
    elif not isinstance(done, bool):
        state, said = JobState.STRANGE, f"done: {done!r}"[: wire.MAX_TEXT]
    else:
        state, said = (JobState.DONE, "done") if done else (JobState.LIVE, "")
    return JobReading(name, state, said, job=_job(echoed), attempt=attempt_of(echoed))


def _batch(raw: Mapping[str, Any]) -> JobReading:
    meta = raw.get("metadata")
    told = _get(meta, "state") or raw.get("state") or ""
    word = told if isinstance(told, str) else repr(told)
    state = _BATCH_STATES.get(word.removeprefix("BATCH_STATE_").removeprefix("JOB_STATE_"), JobState.STRANGE)
    error = _reason(raw.get("error")) or _reason(_get(meta, "error"))
    if raw.get("done") is True and state in (JobState.LIVE, JobState.STRANGE):
        state = JobState.FAILED if error else state if word else JobState.DONE
    job, attempt = _started(_get(meta, "displayName") or raw.get("displayName"))
    stats = _get(meta, "batchStats")
    return JobReading(
        raw["name"],
        state,
        said=(error or word)[: wire.MAX_TEXT],
        counts={ours: _count(_get(stats, theirs)) for ours, theirs in _COUNTS.items()},
        job=job,
        attempt=attempt,
    )


def _started(name: object) -> tuple[str, int]:
    """Whose batch it is and of which attempt, by its name; those of releases before tell no attempt."""
    found = _START.fullmatch(name) if isinstance(name, str) else None
    return (found[1], int(found[2])) if found else (_id(name), 0)


def _reason(error: object) -> str:
    return ": ".join(part for part in wire.error_parts(error) if part)[: wire.MAX_TEXT]


def _sent_along(raw: object, config: str) -> object:
    return _get(_get(raw, config), "user_metadata")


def _job(metadata: object) -> str:
    return _id(_get(metadata, "job"))


def _id(value: object) -> str:
    return value if isinstance(value, str) and _JOB.fullmatch(value) else ""


def _count(value: object) -> int:
    """64-bit integers travel as digits in a string."""
    number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}", value) else value
    return number if type(number) is int and 0 <= number <= wire.MAX_COUNT else 0


def batches(raw: object) -> tuple[list[JobReading], str]:
    """One page of the list, as far as it can be read, and the token of the next."""
    found = []
    for entry in [*_list(_get(raw, "operations")), *_list(_get(raw, "batches"))]:
        try:
            found.append(reading(JobKind.BATCH, entry))
        except UnreadAnswerError:
            continue
    token = _get(raw, "nextPageToken")
    return found, token if isinstance(token, str) else ""


# ------------------------------------------------------------------ in: what it made


@dataclass(frozen=True, slots=True)
class Made:
    """One video: the file it is in at Gemini, or its bytes in base64; or why neither can be had."""

    file: str = ""
    data: str = ""
    trouble: str = ""


def made(kind: JobKind, raw: object, *, hosts: Sequence[str]) -> tuple[list[Made], str]:
    """The videos a job that is done names, and the service's own word where it kept some back.

    Args:
        hosts: Whose addresses count; any other's is trouble, and is neither asked nor given the key.
    """
    if kind is JobKind.VIDEO_INTERACTION:
        return [_video(block, hosts) for block in _video_blocks(raw)], _cut_short(raw)
    response = _get(raw, "response")
    answer = _get(response, "generateVideoResponse") or response
    samples = _list(_get(answer, "generatedSamples")) or _list(_get(answer, "generatedVideos"))
    return [_video(_get(sample, "video"), hosts) for sample in samples], _kept_back(answer)


def _cut_short(raw: object) -> str:
    """What an interaction says went wrong, or that it ended early; empty for one that ended well."""
    seen = wire.snapshot(raw)
    early = seen.status if seen.status != "completed" else ""
    return ("; ".join(seen.errors) or early)[: wire.MAX_TEXT]


def _kept_back(answer: object) -> str:
    reasons = [r for r in _list(_get(answer, "raiMediaFilteredReasons")) if isinstance(r, str)]
    count = _count(_get(answer, "raiMediaFilteredCount"))
    if not reasons and not count:
        return ""
    return f"{count or len(reasons)} kept back by the safety filters: {'; '.join(reasons)}"[: wire.MAX_TEXT]


def _video_blocks(raw: object) -> Iterator[object]:
    for step in _list(_get(raw, "steps")):
        if _get(step, "type") == "model_output":
            for block in _list(_get(step, "content")):
                if _get(block, "type") == "video":
                    yield block


def _video(value: object, hosts: Sequence[str]) -> Made:
    for key in ("encodedVideo", "videoBytes", "data"):
        data = _get(value, key)
        if isinstance(data, str) and data:
            return Made(data=data)
    uri = _get(value, "uri") or _get(value, "name")
    if not isinstance(uri, str) or not uri:
        return Made(trouble="a video without address or bytes")
    return file_at(uri, hosts)


def file_at(uri: str, hosts: Sequence[str]) -> Made:
    """The `files/…` an address of the API names, the rest of which is not used."""
    if _FILE.fullmatch(uri):
        return Made(file=uri)
    try:
        parts = urlsplit(uri)
        host = (parts.hostname or "").lower()
    except ValueError:
        return Made(trouble="an address that is none")
    if host not in hosts:
        return Made(trouble=f"an address at another host: {host}"[:200])
    found = _FILE_IN_PATH.search(parts.path)
    return Made(file=found.group(1)) if found else Made(trouble="an address that names no file")


@dataclass(frozen=True, slots=True)
class Output:
    """Where the answers of a batch are: in a file at Gemini, or here."""

    file: str = ""
    answers: Sequence[Any] = ()


def output(raw: object) -> Output | None:
    """None where there is none. It is told below `metadata`; samples have it in `response`, too."""
    candidates = (_get(_get(raw, "metadata"), "output"), _get(_get(raw, "response"), "output"))
    for told in (*candidates, _get(raw, "response"), _get(raw, "output")):
        file = _get(told, "responsesFile")
        if isinstance(file, str) and _FILE.fullmatch(file):
            return Output(file=file)
        inlined = _get(told, "inlinedResponses")
        answers = inlined if isinstance(inlined, list) else _get(inlined, "inlinedResponses")
        if isinstance(answers, list):
            return Output(answers=answers)
    return None


def uploaded(raw: object) -> str:
    """The name of a file that was just sent; empty where the answer tells none."""
    name = _get(_get(raw, "file"), "name")
    return name if isinstance(name, str) and _FILE.fullmatch(name) else ""


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _get(value: object, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None
