"""One entry of a run's record in words. No I/O; the words of others are in JSON or quoted, never markup."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import DOORS

_REFUSED: Final = (Ruling.DENY, Ruling.UNKNOWN, Ruling.INVALID)


def sentence(entry: Mapping[str, Any]) -> str:
    """What an entry of the API's record says, for a person who knows none of our code.

    Args:
        entry: With `kind`, `note`, `refused` and `data`, as `GET /v1/runs/{id}/events` gives it.
    """
    if entry["refused"]:
        return f"refused: {entry['note'] or entry['refused']}"
    note, why = entry["note"], entry["data"].get("why")
    if why and why in note:
        return str(note)  # it says the same, and what follows from it
    words = _words(entry["kind"], entry["data"])
    return f"{words} ({note})" if note else words


def instant(text: str | None) -> str:
    """An instant of the API, to the second."""
    return f"{text[:19].replace('T', ' ')} UTC" if text else "–"


def _words(kind: str, data: Mapping[str, Any]) -> str:
    match kind, data:
        case "RunRequested", _:
            return "the record is opened, the first interaction is intended"
        case "CreateClaimed", {"turn": turn}:
            return f"interaction {turn} goes out to Gemini"
        case "CreateUncertain", {"turn": turn}:
            return _because(f"Gemini's answer got lost, it may have taken interaction {turn}", data)
        case "CreateDeferred", {"turn": turn}:
            return _because(f"interaction {turn} is not taken now and goes out again later", data)
        case "CreateRefused", {"turn": turn}:
            return _because(f"Gemini refused interaction {turn}", data)
        case "InteractionMissing", {"interaction_id": str(name)}:
            return _because(f"Gemini has no interaction {name}", data)
        case "InteractionSignalled", {"interaction_id": str(name)}:
            return f"a webhook tells of {name}"
        case "InteractionObserved", {"snapshot": {"status": str(status), "calls": list(calls)}}:
            asked = ", ".join(f"{c['name']}({json.dumps(c['arguments'])})" for c in calls)
            refused = (f"; {_not_called(a)}" for a in data.get("assessments", ()) if a["ruling"] in _REFUSED)
            return f"Gemini says {status}" + (f" and asks for {asked}" if asked else "") + "".join(refused)
        case "CallPreviewed", {"assessment": {"tool": str(tool), "preview": {"text": str(text)}}}:
            return f"what {tool} would do: {_flat(text)}" if text else f"what {tool} would do is not known"
        case "CallClaimed", {"assessment": {"tool": str(tool)}}:
            return f"the gate lets {tool} run"
        case "CallFinished", {"outcome": {"kind": str(outcome), "result": result}}:
            return f"it {outcome}: {json.dumps(result)}"
        case "StepBegun", {"assessment": {"tool": str(tool)}}:
            return f"the next step calls {tool}"
        case "StepBegun", {"why": str(why)}:
            return f"the next step cannot begin: {why}"
        case "CallWaits", {"wishes": list(wishes)}:
            return f"it waits for {len(wishes)} long job{'s' if len(wishes) != 1 else ''}"
        case "CallCutOff", {"why": str(why)}:
            return f"a tool was cut off while it ran: {why}"
        case "CallDoubted", {"doubts": [str(doubt), *_]}:
            return f"what is stored about a call is not what the audit has: {doubt}"
        case "BatchPosted", _:
            return "the questions of this turn stand under one message in Slack"
        case "ApprovalPosted", _:
            return "the approval can be seen in Slack"
        case "ApprovalUndelivered", {"why": str(why)}:
            return f"the approval could not be shown in Slack: {why}"
        case "ApprovalCopied", {"person": ""}:
            return "a message of ours with the question was found in Slack"
        case "ApprovalCopied", {"person": str(person)}:
            return f"{person} has the question as a direct message"
        case "ApprovalNotCopied", {"person": str(person)}:
            return _because(f"{person} cannot be sent the question as a direct message", data)
        case "ReminderDue", _:
            return "it is time to remind people"
        case "ApprovalDecided", {"verdict": verdict}:
            return _decided(verdict)
        case "ApprovalEdited", _:
            return "the question is put anew with other arguments"
        case "QuestionAsked", {"by": by, "text": str(text)}:
            return f"{_who(by)} asks back: {json.dumps(text, ensure_ascii=False)}"
        case "QuestionAnswered", {"by": by, "text": str(text)}:
            return f"{_who(by)} answers: {json.dumps(text, ensure_ascii=False)}"
        case "ApprovalExpired", _:
            return "the time to answer was up"
        case "RunOverdue", _:
            return "the run's time was up"
        case "CancelRequested", {"by": by}:
            return f"{_who(by)} stops the run"
        case "AttentionResolved", {"choice": str(choice), "by": by}:
            return f"{_who(by)} settles it: {choice.replace('_', ' ')}"
        case "TakenUp", {"as_run": str(other)}:
            return f"{other} goes on with the work"
    return re.sub(r"(?<!^)(?=[A-Z])", " ", kind).lower()


def _because(words: str, data: Mapping[str, Any]) -> str:
    return f"{words}: {data['why']}" if data.get("why") else words


def _not_called(assessment: Mapping[str, Any]) -> str:
    return f"{assessment['tool']} is not called: {json.dumps(assessment['reason'], ensure_ascii=False)}"


def _flat(preview: str) -> str:
    """A preview in one line of JSON: its mapping, or its text."""
    try:
        told = json.loads(preview)
    except ValueError:
        told = preview
    return json.dumps(told if isinstance(told, dict) else preview)


def _decided(verdict: Mapping[str, Any]) -> str:
    word = "sends it back" if verdict.get("refine") else "approves" if verdict["approve"] else "rejects"
    word = "answers" if verdict.get("answer") is not None else word
    word += " and stops the run" if verdict.get("stop") else ""
    reason = f": {json.dumps(verdict['reason'], ensure_ascii=False)}" if verdict.get("reason") else ""
    return f"{_who(verdict['by'])} {word} {DOORS.get(verdict['by']['door'], '')}".rstrip() + reason


def _who(by: Mapping[str, Any]) -> str:
    return str(by["name"] or by["id"])
