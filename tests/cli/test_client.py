"""What a shell does with answers that are none, and with words no request can hold."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
import rich_click as click

from orchestrator.cli import cards, client, consent, deliveries, runs, watching
from orchestrator.cli.entries import sentence
from orchestrator.errors import ConfigError, UnavailableError


def service(content: bytes = b"{}", headers: Mapping[str, str] | None = None) -> httpx.Client:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(content), headers=headers)

    return httpx.Client(base_url="http://service", transport=httpx.MockTransport(answer))


NONSENSE: dict[str, tuple[bytes, dict[str, str]]] = {
    "a list": (b"[]", {}),
    "no text": (b"\xff\xfe", {}),
    "brackets without end": (b"[" * 100_000, {}),
    "badly packed": (b"nonsense", {"content-encoding": "gzip"}),
    "items that are none": (b'{"items": 7, "next": null}', {}),
    "items of another kind": (b'{"items": [7], "next": null}', {}),
    "pages without end": (b'{"items": [], "next": "x"}', {}),
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_an_answer_of_somebody_else_is_said_to_be_one(kind: str) -> None:
    content, headers = NONSENSE[kind]
    with pytest.raises(UnavailableError), service(content, headers) as other:
        client.listed(other, "/v1/runs", {}, 10)


def test_an_answer_that_lacks_something_is_none() -> None:
    told: dict[str, Any] = {"id": "apr_1", "digest": "e", "arguments": {}, "verdict": None, "requester": {}}
    with service(json.dumps(told).encode()) as other:
        known = client.one(other, "/v1/approvals/apr_1", "id", "digest", "arguments")
    assert json.loads(json.dumps(known)) == told
    with pytest.raises(UnavailableError, match="'name'"):
        cards.who(known["requester"])
    with pytest.raises(UnavailableError, match="'tool'"):
        cards.whole(known)


def test_a_stream_of_somebody_else_is_given_up() -> None:
    with pytest.raises(UnavailableError):
        [*watching._events([b"data: nonsense\n\n"])]


NO_JSON: list[Any] = [float("nan"), float("inf"), "\udcff"]


@pytest.mark.parametrize("value", NO_JSON)
def test_what_no_request_holds_is_the_callers_mistake(value: Any) -> None:
    with pytest.raises(ConfigError), service() as ours:
        client.ask(ours, "POST", f"/{client.part(chr(0xDCFF))}", json={"input": value})


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": 1, "a": 2}', "[" * 100_000, '{"a":' * 100_000])
def test_what_can_be_read_in_two_ways_is_no_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        client.typed(text)
    assert runs._fields(text) == text


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        ("input must not be empty", "input must not be empty"),
        ("The request does not fit.", "The request does not fit. (input: must not be empty)"),
    ],
)
def test_a_field_that_the_service_named_is_not_named_twice(detail: str, said: str) -> None:
    told = {"title": "Bad Request", "detail": detail}
    told |= {"errors": [{"field": "input", "message": "must not be empty"}]}
    assert client.complaint(httpx.Response(400, json=told)) == said


def test_fields_that_the_service_named_are_not_named_twice() -> None:
    told: dict[str, Any] = {"detail": "input.a is missing; input.b must be text"}
    faults = {"input.a": "is missing", "input.b": "must be text"}
    told |= {"errors": [{"field": f, "message": m} for f, m in faults.items()]}
    assert client.complaint(httpx.Response(400, json=told)) == told["detail"]


@pytest.mark.parametrize(
    "look",
    [
        lambda service: client.listed(service, "/v1/runs", {"workflow": "x" * 300}, 10),
        lambda service: client.one(service, "/v1/triggers/t?limit=0", "id"),
    ],
)
def test_whoever_looks_is_told_which_field_does_not_fit(look: Callable[[httpx.Client], Any]) -> None:
    told: dict[str, Any] = {"title": "Bad Request", "detail": "The request does not fit; see errors."}
    told |= {"errors": [{"field": "workflow", "message": "is too long"}]}
    answers = httpx.MockTransport(lambda _: httpx.Response(400, json=told))
    refuses = httpx.Client(base_url="http://service", transport=answers)
    with refuses, pytest.raises(ConfigError, match="workflow: is too long"):
        look(refuses)


def test_the_message_over_a_turn_is_told_in_words() -> None:
    entry = {"kind": "BatchPosted", "note": "", "refused": None, "data": {"turn": 1}}
    assert sentence(entry) == "the questions of this turn stand under one message in Slack"


@pytest.mark.parametrize(("run", "about"), [("run_1", "run_1"), (None, "v1_interaction")])
def test_a_delivery_is_listed_with_the_run_it_is_about(run: str | None, about: str) -> None:
    told = dict.fromkeys(("id", "kind", "state", "verdict", "note"), "x") | {"duplicates": 0, "conflicts": 0}
    told |= {"received_at": "2026-11-23T08:20:52.867566Z", "subject": "v1_interaction", "run": run}
    assert deliveries._row(told)[1:4] == ["2026-11-23 08:20:52 UTC", "x", about]


def refusing(headers: Mapping[str, str]) -> httpx.Client:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(403, json={"title": "Forbidden", "detail": "no"}, headers=headers)

    return httpx.Client(base_url="http://service", transport=httpx.MockTransport(answer))


@pytest.mark.parametrize(
    "act",
    [
        lambda service: client.one(service, "/v1/approvals/apr_1", "id"),
        lambda service: client.posted(service, "/v1/runs/run_1/cancel", {}),
        lambda service: client.each(service, ["1"], str, "", done=str, as_json=False),
        lambda service: consent.answered(service, "apr_1", {"verdict": "approve"}),
    ],
)
def test_every_command_tells_a_token_that_lacks_a_scope_from_what_is_not_yours(
    act: Callable[[httpx.Client], Any],
) -> None:
    challenge = {"WWW-Authenticate": 'Bearer realm="orchestrator", error="insufficient_scope"'}
    with pytest.raises(ConfigError, match="the service refused the token"), refusing(challenge) as lacks:
        act(lacks)
    with pytest.raises(click.ClickException), refusing({}) as refuses:
        act(refuses)
