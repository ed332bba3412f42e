"""A value or a field that is none of those there may be is answered with those there are."""

from typing import Any

import pytest
from litestar.testing import TestClient
from web_kit import House, bearer

APPROVAL = "apr_" + "0" * 24
ONE = {"approval": APPROVAL, "digest": "0" * 16, "verdict": "maybe"}


@pytest.mark.parametrize(
    ("path", "body", "field", "taken"),
    [
        (f"/v1/approvals/{APPROVAL}/decision", ONE, "verdict", "answer, approve, edit, refine, reject"),
        ("/v1/approvals/decisions", {"decisions": [ONE]}, "decisions[0].verdict", "approve, reject"),
        ("/v1/runs/run_x/resolve", {"call": "x", "choice": "no"}, "choice", "give_up, happened, retry"),
    ],
)
def test_a_choice_that_is_none_in_a_body_is_told_what_is_taken(
    house: House, path: str, body: dict[str, Any], field: str, taken: str
) -> None:
    body = {key: value for key, value in body.items() if key != "approval"} if "verdict" in body else body
    with TestClient(house.app()) as client:
        answer = client.post(path, json=body, headers=bearer())
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert error["message"].endswith(f"; taken are: {taken}")


@pytest.mark.parametrize(
    ("path", "field", "taken"),
    [
        ("/v1/runs", "status", "attention, cancelled, completed"),
        ("/v1/effects", "state", "claimed, dead, pending"),
        ("/v1/callback-addresses", "state", "active, disabled"),
    ],
)
def test_a_choice_that_is_none_in_a_query_is_told_what_is_taken(
    house: House, path: str, field: str, taken: str
) -> None:
    with TestClient(house.app()) as client:
        answer = client.get(f"{path}?{field}=zz", headers=bearer())
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (400, field)
    assert error["message"].startswith(f"Invalid enum value 'zz'; taken are: {taken}")


STARTED = "/v1/workflows/refund/runs"


@pytest.mark.parametrize(
    ("path", "body", "field", "message"),
    [
        (
            STARTED,
            {"imput": "x"},
            "imput",
            "is not a field here; taken are: callback, idempotency_key, input",
        ),
        (STARTED, {}, "input", "is required"),
        (
            STARTED,
            {"input": "x", "callback": {"url": "https://example.com", "event": []}},
            "callback.event",
            "is not a field here; taken are: events, url",
        ),
        (
            "/v1/approvals/decisions",
            {"decisions": [{"id": APPROVAL}]},
            "decisions[0].id",
            "is not a field here; taken are: approval, digest, reason, verdict",
        ),
        ("/v1/runs/run_x/restart", {"why": "x"}, "why", "is not a field here"),
    ],
)
def test_a_field_that_is_none_or_lacks_is_told_in_words(
    house: House, path: str, body: dict[str, Any], field: str, message: str
) -> None:
    with TestClient(house.app()) as client:
        answer = client.post(path, json=body, headers=bearer())
    assert (answer.status_code, answer.json()["errors"]) == (400, [{"field": field, "message": message}])
