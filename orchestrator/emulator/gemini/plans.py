"""How long jobs go: what a test or a demo writes down about videos and batches to come.

    jobs:                              # beside `scenarios` in the file
      - name: the stormy clip is filtered
        match: {kind: video, model: veo-3.1, input_contains: storm, metadata: {job: job_1}}
        times: 1                       # used for so many jobs at most
        seconds: 60                    # until it ends, instead of the settings'
        end: filtered                  # see `ENDS`
      - match: {kind: batch}
        fail_share: 0.03               # of the lines, chosen by their keys
        fail_keys: [r7]
        missing_keys: [r9]             # lines that the results simply do not have
        answers: {r1: "Yes."}          # by key; else `text`, where ${input} is what the line asks
        text: "Answer to: ${input}"
        shuffle: true

The first entry that fits is the job's; what it does not say, the settings do. No I/O but reading requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

Json = dict[str, Any]
VIDEO: Final = "video"
BATCH: Final = "batch"
ENDS: Final[dict[str, tuple[str, ...]]] = {
    VIDEO: ("succeeded", "failed", "filtered", "empty", "stuck"),
    BATCH: ("succeeded", "failed", "expired", "cancelled", "stuck"),
}
MATCHES: Final = {"kind": str, "model": str, "input_contains": str, "metadata": dict}
ANSWER: Final = "Answer to: ${input}"
KINDS_OF: Final[dict[str, tuple[type, ...]]] = {
    "name": (str,),
    "match": (dict,),
    "times": (int,),
    "end": (str,),
    "seconds": (int, float),
    "pending": (int, float),
    "error": (dict,),
    "bytes": (int,),
    "samples": (int,),
    "fail_share": (int, float),
    "fail_keys": (list, tuple),
    "missing_keys": (list, tuple),
    "answers": (dict,),
    "text": (str,),
    "shuffle": (bool,),
    "event": (str,),
}


@dataclass(frozen=True)
class Plan:
    """What becomes of a job.

    Args:
        match: Of the jobs it is for; `model` as it begins, `metadata` as it is part of the request's.
        times: For so many jobs; None is every one.
        end: One of `ENDS` of the job's kind.
        seconds: From its start to its end; None takes the settings'.
        pending: Of those, in `BATCH_STATE_PENDING`.
        error: Of a failure: `code` and `message`.
        bytes: Size of a video's file; None takes the settings'.
        samples: Videos in the answer; None is what the request asks for.
        fail_share: Of a batch's lines that fail, 0 to 1.
        fail_keys: Keys of lines that fail.
        missing_keys: Keys of lines that have no result.
        answers: What the model says to lines, by key.
        text: What it says to the others.
        shuffle: Results come in another order than the requests.
        event: Type sent instead of the end's own; `""` is none.
    """

    name: str = "plan"
    match: Mapping[str, Any] = field(default_factory=dict)
    times: int | None = None
    end: str = "succeeded"
    seconds: float | None = None
    pending: float | None = None
    error: Mapping[str, Any] = field(default_factory=dict)
    bytes: int | None = None
    samples: int | None = None
    fail_share: float = 0.0
    fail_keys: tuple[str, ...] = ()
    missing_keys: tuple[str, ...] = ()
    answers: Mapping[str, str] = field(default_factory=dict)
    text: str = ANSWER
    shuffle: bool = False
    event: str | None = None

    def fits(self, kind: str, model: str, text: str, metadata: Mapping[str, Any]) -> bool:
        """Is it for a job like this?"""
        wanted = self.match
        return (
            wanted.get("kind", kind) == kind
            and self.end in ENDS[kind]
            and model.startswith(str(wanted.get("model", "")))
            and str(wanted.get("input_contains", "")).lower() in text.lower()
            and all(metadata.get(key) == value for key, value in wanted.get("metadata", {}).items())
        )


class Plans:
    """The plans of one emulator, first come, first chosen."""

    def __init__(self) -> None:
        self._plans: list[Plan] = []
        self._left: dict[int, int | None] = {}

    def add(self, given: list[Any], *, replace: bool = False) -> list[str]:
        """Put plans before the others, or in their place; returns their names.

        Raises:
            ValueError: They cannot be followed; nothing has changed.
        """
        new = [parsed(item, f"jobs[{number}]") for number, item in enumerate(given)]
        self._plans = new + ([] if replace else self._plans)
        self._left.update({id(plan): plan.times for plan in new})
        return [plan.name for plan in new]

    def choose(self, kind: str, model: str, text: str, metadata: Mapping[str, Any]) -> Plan:
        """The plan for a job that starts now."""
        for plan in self._plans:
            left = self._left[id(plan)]
            if left != 0 and plan.fits(kind, model, text, metadata):
                self._left[id(plan)] = None if left is None else left - 1
                return plan
        return Plan()


def parsed(item: Any, where: str) -> Plan:
    """A plan from a mapping of its fields.

    Raises:
        ValueError: Unknown keys, wrong types, an end that its kind of job has not.
    """
    if not isinstance(item, Mapping):
        raise ValueError(f"{where}: expected a mapping")
    data = {"name": where, **item}
    for key, value in data.items():
        if key not in KINDS_OF:
            raise ValueError(
                f"{where}: unknown key '{key}'; known: {', '.join(f.name for f in fields(Plan))}"
            )
        if not isinstance(value, KINDS_OF[key]) or (isinstance(value, bool) and bool not in KINDS_OF[key]):
            raise ValueError(f"{where}.{key}: expected {KINDS_OF[key][0].__name__}")
    _check_match(data.get("match", {}), f"{where}.match")
    _check_ranges(data, where)
    lists = {key: tuple(map(str, data.get(key, ()))) for key in ("fail_keys", "missing_keys")}
    return Plan(**{**data, **lists})


def _check_match(match: Mapping[str, Any], where: str) -> None:
    for key, value in match.items():
        if key not in MATCHES:
            raise ValueError(f"{where}: unknown key '{key}'; known: {', '.join(MATCHES)}")
        if not isinstance(value, MATCHES[key]):
            raise ValueError(f"{where}.{key}: expected {MATCHES[key].__name__}")
    if match.get("kind", VIDEO) not in ENDS:
        raise ValueError(f"{where}.kind: expected one of {', '.join(ENDS)}")


def _check_ranges(data: Mapping[str, Any], where: str) -> None:
    kinds = [data["match"]["kind"]] if "kind" in data.get("match", {}) else list(ENDS)
    ends = [end for kind in kinds for end in ENDS[kind]]
    if data.get("end", "succeeded") not in ends:
        raise ValueError(f"{where}.end: expected one of {', '.join(dict.fromkeys(ends))}")
    if not 0.0 <= data.get("fail_share", 0.0) <= 1.0:
        raise ValueError(f"{where}.fail_share: expected a number between 0 and 1")
    for key in ("seconds", "pending", "bytes", "samples", "times"):
        if data.get(key, 0) < 0:
            raise ValueError(f"{where}.{key}: expected no less than 0")
