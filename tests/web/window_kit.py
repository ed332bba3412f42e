"""What people press and send off in Slack, and what its window says then."""

from typing import Any

from litestar.testing import TestClient
from web_kit import APP, DIGEST, TEAM, House, form, slack_signed

from orchestrator.domain.consent import Approval
from orchestrator.emulator.slack.validation import validate_view

DOOR = "/slack/interactivity"


def sent(kind: str, approval: Approval, values: Any = None, *, user: str = "U0ALICE", **more: Any) -> Any:
    """A window of ours about that question, sent off."""
    revision, digest = more.pop("revision", 1), more.pop("digest", DIGEST[:16])
    view = {
        "id": "V0A1",
        "type": "modal",
        "callback_id": kind,
        "private_metadata": f"{approval.id}|{revision}|{digest}",
        "app_id": APP,
        "state": {"values": values or {}},
    }
    return {
        "type": "view_submission",
        "api_app_id": APP,
        "trigger_id": "7391.8210.77aa",
        "team": {"id": TEAM},
        "user": {"id": user, "username": user.lower(), "team_id": TEAM},
        "view": view,
        **more,
    }


def because(reason: str | None) -> dict[str, Any]:
    return {"reason": {"reason": {"type": "plain_text_input", "value": reason}}}


def press(house: House, *payloads: Any) -> list[Any]:
    """Send them in order; the status and the answer of each."""
    with TestClient(house.app(), raise_server_exceptions=False) as client:
        bodies = [(b, slack_signed(b, at=house.clock.now)) for b in map(form, payloads)]
        answers = [client.post(DOOR, content=b, headers=signed) for b, signed in bodies]
    return [(a.status_code, a.json() if a.content else None) for a in answers]


def words(answer: Any) -> str:
    """What stands in the window that was put in place of the one sent off."""
    status, body = answer
    assert (status, body["response_action"]) == (200, "update")
    assert validate_view(body["view"]) == ()
    parts = body["view"]["blocks"][0]["elements"][0]["elements"]
    return "".join(p.get("text") or f"<@{p['user_id']}>" for p in parts)
