"""What the audit says of one question, and where the tables tell it otherwise.

Read by `audit_check.compare` of all questions, and at the gate of the one because of which a call is to run.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from orchestrator.domain.consent import ApprovalStatus, Inquiry, Preview, Terms, Verdict, Vote
from orchestrator.domain.evidence import EntryKind, deciders, shown, text_of, word
from orchestrator.store.chain import Row, sha256_of

Said = Mapping[str, Any]

_SETTING: Final = (
    *(EntryKind.APPROVAL_REQUESTED, EntryKind.REOPENED, EntryKind.DECIDED),
    *(EntryKind.EXPIRED, EntryKind.WITHDRAWN, EntryKind.EDITED),
)
"""What opens a question or is its end."""


@dataclass(frozen=True, slots=True)
class Yes:
    """One that was accepted: whose, by which door, in which stage, and for which entries they stood."""

    person: str
    name: str
    door: str
    at: str
    stage: int
    stands: frozenset[str]

    @property
    def cast(self) -> "_Cast":
        return self.person, self.name, self.door, self.at, self.stage


@dataclass(slots=True)
class Testimony:
    """What the entries about one question come to, heard in their order."""

    requested: bool = False
    tool: str = ""
    call: str = ""
    status: str = ""
    over: str = ""
    """What ended it, before the entry that is heard: several may tell of one moment, with its last status."""
    digest: str = ""
    arguments: str = ""
    previews: set[str | None] = field(default_factory=set)
    start_by: str | None = None
    deciders: Any = None
    expires_at: str = ""
    yeses: list[Yes] = field(default_factory=list)
    verdict: Said = field(default_factory=dict)
    asked_back: dict[int, tuple[str, str]] = field(default_factory=dict)
    approved: str = ""
    claims: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    """What cannot have been, by the audit's own account: it was done on the strength of forged rows."""

    def hear(self, kind: str, said: Said) -> None:
        match kind:
            case EntryKind.APPROVAL_REQUESTED:
                self._requested(said)
            case EntryKind.EDITED:
                self.arguments = said.get("arguments_sha256", self.arguments)
            case EntryKind.TIME_BEGAN:
                self.expires_at = said["expires_at"]
            case EntryKind.ESCALATED:
                self._escalated(said)
            case EntryKind.ASKED_BACK:
                self.asked_back[said["number"]] = (said["question"], "")
            case EntryKind.ANSWERED_BACK:
                self.asked_back[said["number"]] = (self.asked_back[said["number"]][0], said["answer"])
            case EntryKind.VOTED:
                self._yes(said, said.get("cast_at", ""), said.get("stage", 0))
            case EntryKind.DECIDED:
                self._decided(said)
            case EntryKind.START_PROLONGED:
                self.start_by = said.get("start_by")
            case EntryKind.CALL_CLAIMED:
                self.claims.add(said["claim"])
                if said["gated"] and said["digest"] != self.approved:
                    self.wrong.append(f"call {said['call']} was started and nobody had approved just that")
        if "status" in said:
            self.status, self.digest = said["status"], said["digest"]
        if kind in _SETTING:
            self.over = "" if self.status == ApprovalStatus.PENDING else self.status

    def _requested(self, said: Said) -> None:
        self.requested, self.tool, self.call = True, said["tool"], said["call"]
        self.arguments = said["arguments_sha256"]
        self.previews.add(said.get("preview_sha256"))
        self.deciders, self.expires_at = said["deciders"], said["expires_at"]

    def _escalated(self, said: Said) -> None:
        if not _only_more(self.deciders, said["deciders"]):
            self.wrong.append("who may decide it was another already when others were asked too")
        self.deciders, self.expires_at = said["deciders"], said["expires_at"]

    def _yes(self, said: Said, at: str, stage: int) -> None:
        by = said["by"]
        stands = frozenset((by["id"], said.get("as", by["id"]), *said.get("standing", ())))
        self.yeses.append(Yes(by["id"], by["name"], by["door"], at, stage, stands))

    def _decided(self, said: Said) -> None:
        self.verdict, self.start_by = said, said.get("start_by")
        self.previews.add(said.get("preview_sha256"))
        self.approved = ""
        if said["verdict"] != "approve":
            return
        self.approved = said["digest"]
        at = said["decided_at"]
        last = [v["stage"] for v in said["votes"] if (v["by"]["id"], v["cast_at"]) == (said["by"]["id"], at)]
        self._yes(said, at, last[0] if last else 0)
        if self.requested:  # else it was asked before there was an audit
            self.wrong.extend(self._hasty(at))

    def _hasty(self, at: str) -> Iterator[str]:
        """What an approval lacked."""
        if self.over:
            yield f"it was approved although it was {self.over} already"
        if at >= self.expires_at:
            yield "it was approved after its time was up"
        for number, stage in enumerate(self.deciders["stages"]):
            yes = {y.person for y in self.yeses if y.stage == number and self._may(y, stage)}
            if len(yes) < stage["quorum"]:
                yield "it was approved with fewer yeses than it needed, or by others than were asked"

    def _may(self, yes: Yes, stage: Said) -> bool:
        return not yes.stands.isdisjoint(stage["approvers"]) and yes.stands.isdisjoint(self.deciders["never"])


def _only_more(before: Any, after: Any) -> bool:
    """Whether an escalation only let more people decide: what stood in the row then may have been forged."""
    if before is None:  # asked before there was an audit
        return True
    was, now = before["stages"], after["stages"]
    kept = all(before[part] == after[part] for part in ("never", "four_eyes")) and len(was) == len(now)
    return kept and all(
        {*old["approvers"]} <= {*new["approvers"]} and old["quorum"] == new["quorum"]
        for old, new in zip(was, now, strict=False)
    )


def faults(row: Row, told: Testimony, last: str | None) -> Iterator[str]:
    """What of a question is not as the audit has it.

    Args:
        row: The columns of `audit_check.COMPARED`.
        last: The question its call was asked last, by the audit.
    """
    if not told.requested:
        yield "the audit does not know that it was asked"
        return
    if row["call"] != told.call:
        yield f"is not about the call that the audit says, {told.call}"
    if str(row["status"]) != told.status:
        yield f"is {row['status']}, the audit says {told.status}"
    if row["digest"] != told.digest:
        yield "its digest is not the one in the audit"
    try:
        yield from _astray(row, told)
    except msgspec.ValidationError:
        yield "cannot be read"
    yield from dict.fromkeys(told.wrong)
    if last == row["id"]:
        yield from of_call(row, told)


def of_call(row: Row, told: Testimony) -> Iterator[str]:
    """What of the call is not as when people were asked about it last."""
    if row["newest"] != row["id"]:
        yield f"call {row['call']} is gone, or does not know any more that it was asked about"
        return
    if row["claim"] is not None and row["claim"] not in told.claims:
        yield f"call {row['call']} was started, which the audit does not know"
    if row["tool"] != told.tool:
        yield f"call {row['call']} is of {row['tool']}, and people were asked about {told.tool}"
    arguments = sha256_of(row["arguments"])
    inexact = arguments.startswith("sorted:") and told.arguments.startswith("sorted:")
    if arguments != told.arguments and not inexact:
        yield f"the arguments of call {row['call']} are not those people were asked about"


def _astray(row: Row, told: Testimony) -> Iterator[str]:
    """Who decided, who said yes, and who may. Raises `msgspec.ValidationError`."""
    here, there = _answer(row["verdict"]), _audited(told.verdict)
    if here != there:
        yield f"its decision is {_shown(here)}, the audit says {_shown(there)}"
    cast, known = _cast(row["votes"]), [yes.cast for yes in told.yeses]
    yield from (f"the audit does not know of a yes by {yes[0]}" for yes in cast if yes not in known)
    yield from (f"a yes by {yes[0]} is not there" for yes in known if yes not in cast)
    if told.previews != {_preview(row["preview"])}:
        yield "what it would do is not what the audit says people were shown"
    if (text_of(row["start_by"]) if row["start_by"] else None) != told.start_by:
        yield "its call may not start until when the audit says"
    asked = msgspec.convert(row["questions"], tuple[Inquiry, ...])
    if {n: (q.text, q.answer) for n, q in enumerate(asked, 1)} != told.asked_back:
        yield "what was asked back about it is not what the audit says"
    if row["status"] not in (ApprovalStatus.PENDING, ApprovalStatus.APPROVED):
        return  # nobody can decide it any more, and nothing runs because of it
    if deciders(msgspec.convert(row["terms"], Terms)) != told.deciders:
        yield "who may decide it is not as the audit says"
    if text_of(row["expires_at"]) != told.expires_at:
        yield "it does not lapse when the audit says"


def _preview(stored: dict[str, Any] | None) -> str | None:
    """The hash of what people were shown. Raises `msgspec.ValidationError`."""
    return None if stored is None else sha256_of(shown(msgspec.convert(stored, Preview)))


_Cast = tuple[str, str, str, str, int]
"""A yes: by whom, their name, by which door, when, in which stage."""


def _cast(stored: Any) -> list[_Cast]:
    """Those the tables have. Raises `msgspec.ValidationError`."""
    votes = msgspec.convert(stored, tuple[Vote, ...])
    return [(v.by.id, v.by.name, v.by.door, text_of(v.at), v.stage) for v in votes]


_Answer = tuple[str, str, str, str, str, bool, str, str]


def _answer(stored: dict[str, Any] | None) -> _Answer | None:
    """A decision as the tables have it.

    What, who, by which door, why, which answer, whether it stops the run, the person's name, and when.
    """
    if stored is None:
        return None
    verdict = msgspec.convert(stored, Verdict)
    given = "" if verdict.answer is None else sha256_of(verdict.answer)
    by, at = verdict.by, text_of(verdict.at)
    return word(verdict), by.id, by.door, verdict.reason, given, verdict.stop, by.name, at


def _audited(said: Said) -> _Answer | None:
    """The same as the audit has it."""
    if not said or said["verdict"] is None:
        return None
    given, stop, by = said.get("answer_sha256", ""), said.get("stop", False), said["by"]
    decided = said["verdict"], by["id"], by["door"], said["reason"]
    return *decided, given, stop, by["name"], said["decided_at"]


def _shown(said: _Answer | None) -> str:
    return "none" if said is None else f"{said[0]} by {said[1]} ({said[2]})"
