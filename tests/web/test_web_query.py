"""What is read takes the query parameters it declares, and no others."""

from typing import Any

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter
from litestar.testing import TestClient
from web_kit import House, bearer


def test_every_route_that_is_read_refuses_what_it_does_not_know(house: House) -> None:
    app = house.app()
    asked = 0
    with TestClient(app) as client:
        for route in app.routes:
            for handler in getattr(route, "route_handlers", ()):
                if not isinstance(handler, HTTPRouteHandler) or "GET" not in handler.http_methods:
                    continue
                if not route.path.startswith("/v1"):
                    continue
                path = route.path_format.replace("{", "").replace("}", "")
                answer = client.get(
                    path, params={"stauts": "failed"}, headers=bearer("ops" if "audit" in path else "reader")
                )
                assert answer.status_code == 400, path
                (error,) = answer.json()["errors"]
                assert error["field"] == "stauts"
                told = error["message"].partition("taken are: ")[2]
                assert told == ", ".join(declared(handler)), path
                assert 400 in (handler.responses or {}), path
                asked += 1
    assert asked > 15


def lists(app: Litestar, *, run: str) -> list[str]:
    """Where a cursor is taken, of a run's lists those of `run`."""
    taking = [
        route.path_format
        for route in app.routes
        for handler in getattr(route, "route_handlers", ())
        if isinstance(handler, HTTPRouteHandler) and "cursor" in declared(handler)
    ]
    return [path.replace("{run_id}", run) for path in taking if "{name}" not in path]


def test_a_cursor_is_of_one_list_as_it_was_asked_for(house: House) -> None:
    """Elsewhere it would begin somewhere in the middle, and nobody would see what was passed over."""
    house.run("another")
    run = house.asked(calls=2).id
    app = house.app()
    with TestClient(app) as client:
        ask = lambda path, **q: client.get(path, params=q, headers=bearer("reader"))  # noqa: E731
        of_runs = ask("/v1/runs", limit=1).json()["next"]
        of_approvals = ask("/v1/approvals", limit=1, status="pending").json()["next"]
        for path in lists(app, run=run):
            for cursor in (of_runs, of_approvals):
                answer = ask(path, cursor=cursor)
                assert answer.status_code == (200 if (path, cursor) == ("/v1/runs", of_runs) else 400), path
                if answer.status_code == 400:
                    assert [e["field"] for e in answer.json()["errors"]] == ["cursor"]
        assert len(lists(app, run=run)) > 5
        assert ask("/v1/approvals", cursor=of_approvals, limit=5, status="pending").status_code == 200
        assert ask("/v1/approvals", cursor=of_approvals, status="expired").status_code == 400


def declared(handler: HTTPRouteHandler) -> list[str]:
    found = handler.parsed_fn_signature.parameters.items()
    of = [(name, f.kwarg_definition) for name, f in found]
    return sorted(q.name or name for name, q in of if isinstance(q, QueryParameter))


@pytest.mark.parametrize("query", ["", "?", "?limit=5", "?status=waiting&limit=5"])
def test_known_ones_are_taken(house: House, query: str) -> None:
    with TestClient(house.app()) as client:
        assert client.get(f"/v1/runs{query}", headers=bearer("reader")).status_code == 200


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=5&Limit=6", ["Limit"]),
        ("b=1&a=2&b=3", ["b", "a"]),
        ("=1", [""]),
        ("%00%E2%80%AE=1", ["\\x00\\u202e"]),
        ("&".join(f"p{n}=1" for n in range(30)), [f"p{n}" for n in range(10)]),
    ],
)
def test_they_are_named_once_each_printable_and_not_all(house: House, query: str, named: list[str]) -> None:
    with TestClient(house.app()) as client:
        answer: Any = client.get(f"/v1/runs?{query}", headers=bearer("reader"))
    assert answer.status_code == 400
    assert [e["field"] for e in answer.json()["errors"]] == named


def test_a_stranger_is_not_told_what_is_taken(house: House) -> None:
    with TestClient(house.app()) as client:
        assert client.get("/v1/runs?x=1").status_code == 401


@pytest.mark.parametrize("query", ["status=waiting&status=failed", "limit=5&status=failed&limit=5"])
def test_two_values_for_one_are_refused(house: House, query: str) -> None:
    """One of them would be passed over."""
    twice = query.partition("=")[0]
    with TestClient(house.app()) as client:
        answer: Any = client.get(f"/v1/runs?{query}", headers=bearer("reader"))
    assert answer.status_code == 400
    assert answer.json()["errors"] == [{"field": twice, "message": "is given twice"}]
