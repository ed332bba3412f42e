"""Every route has an owner, a scope and a row in this matrix; a route without one turns it red."""

from collections.abc import Iterator

import pytest
import structlog
from litestar import Litestar
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.testing import TestClient
from web_kit import ALL_TOKENS, TOKENS, House, bearer, later

from orchestrator.domain.values import replace
from orchestrator.web.doors import Limits
from orchestrator.web.guards import SCOPES

MATRIX = {
    ("POST", "/v1/workflows/{name:str}/runs"): "trigger",
    ("GET", "/v1/runs"): "read",
    ("GET", "/v1/runs/{run_id:str}"): "read",
    ("GET", "/v1/runs/{run_id:str}/calls"): "read",
    ("GET", "/v1/runs/{run_id:str}/events"): "read",
    ("GET", "/v1/runs/{run_id:str}/approvals"): "read",
    ("POST", "/v1/runs/{run_id:str}/cancel"): "operate",
    ("POST", "/v1/runs/{run_id:str}/restart"): "operate",
    ("POST", "/v1/runs/{run_id:str}/resolve"): "operate",
    ("GET", "/v1/approvals"): "read",
    ("GET", "/v1/approvals/{approval_id:str}"): "read",
    ("POST", "/v1/approvals/{approval_id:str}/decision"): "decide",
    ("POST", "/v1/approvals/decisions"): "decide",
    ("POST", "/v1/approvals/{approval_id:str}/questions"): "decide",
    ("POST", "/v1/approvals/{approval_id:str}/questions/{number:int}/answer"): "trigger",
    ("GET", "/v1/approvals/{approval_id:str}/receipt"): "read",
    ("GET", "/v1/audit"): "operate",
    ("GET", "/v1/effects"): "read",
    ("POST", "/v1/effects/{effect_id:str}/retry"): "operate",
    ("POST", "/v1/effects/{effect_id:str}/drop"): "operate",
    ("GET", "/v1/deliveries"): "read",
    ("GET", "/v1/deliveries/{delivery_id:str}"): "read",
    ("POST", "/v1/deliveries/{delivery_id:str}/replay"): "operate",
    ("GET", "/v1/callbacks"): "read",
    ("GET", "/v1/callbacks/{callback_id:str}"): "read",
    ("POST", "/v1/callbacks/{callback_id:str}/replay"): "operate",
    ("GET", "/v1/callback-addresses"): "read",
    ("POST", "/v1/callback-addresses/{address_id:str}/enable"): "operate",
    ("POST", "/v1/callback-addresses/test"): "operate",
    ("GET", "/v1/runs/{run_id:str}/files"): "read",
    ("GET", "/v1/files/{run_id:str}/{name:str}"): "read",
    ("GET", "/v1/jobs"): "read",
    ("GET", "/v1/jobs/{job_id:str}"): "read",
    ("GET", "/v1/runs/{run_id:str}/jobs"): "read",
    ("POST", "/v1/jobs/{job_id:str}/resubmit"): "trigger",
    ("GET", "/v1/triggers"): "read",
    ("GET", "/v1/triggers/{name:str}"): "read",
    ("POST", "/v1/triggers/{name:str}/fire"): "operate",
    ("GET", "/v1/workflows"): "read",
    ("GET", "/v1/workflows/{name:str}"): "read",
    ("GET", "/v1/tools"): "read",
    ("GET", "/v1/tools/{name:str}"): "read",
    ("GET", "/metrics"): "read",
    ("GET", "/healthz"): "open",
    ("GET", "/readyz"): "open",
    ("GET", "/docs"): "open",
    ("GET", "/docs/openapi.json"): "open",
    ("GET", "/docs/{path:str}"): "open",
    ("ASGI", "/webhooks/gemini"): "signature",
    ("ASGI", "/slack/interactivity"): "signature",
    ("ASGI", "/slack/commands"): "signature",
    ("ASGI", "/slack/events"): "signature",
}
GUARDED = [(method, path, scope) for (method, path), scope in MATRIX.items() if scope in SCOPES]
OWNERS = {"api", "gemini", "slack", "probe", "docs"}


def handlers(app: Litestar) -> Iterator[tuple[str, str, BaseRouteHandler]]:
    """Every handler of ours; Litestar's own answer to OPTIONS names methods only."""
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            yield "ASGI", route.path, route.route_handler  # type: ignore[union-attr]
            continue
        for handler in route.route_handlers:
            assert isinstance(handler, HTTPRouteHandler)
            for method in handler.http_methods - {"OPTIONS"}:
                yield str(method), route.path, handler


def test_every_route_has_its_row(house: House) -> None:
    found = {(m, p): h.opt.get("scope") for m, p, h in handlers(house.app())}
    assert found == MATRIX


def test_every_route_has_an_owner(house: House) -> None:
    assert {h.opt.get("owner") for _, _, h in handlers(house.app())} == OWNERS


def test_every_guarded_route_has_the_guard(house: House) -> None:
    """A scope written on a handler is worth nothing without the gatekeeper in front of it."""
    for method, path, handler in handlers(house.app()):
        names = [g.__qualname__ for g in handler.resolve_guards()]
        assert ("_admission.<locals>.admit" in names) == (handler.opt["scope"] in SCOPES), (method, path)


def call(client: TestClient, method: str, path: str, **headers: str) -> int:
    concrete = path.replace("{name:str}", "refund").replace("{run_id:str}", "run_x")
    concrete = concrete.replace("{approval_id:str}", "apr_x").replace("{effect_id:str}", "eff_x")
    concrete = concrete.replace("{delivery_id:str}", "msg_x").replace("{number:int}", "1")
    concrete = concrete.replace("{callback_id:str}", "msg_x").replace("{address_id:str}", "adr_x")
    concrete = concrete.replace("{job_id:str}", "job_x")
    content = b"{}" if method == "POST" else None
    sent = {"content-type": "application/json", **headers}
    return client.request(method, concrete, content=content, headers=sent).status_code


@pytest.mark.parametrize(("method", "path", "scope"), GUARDED)
@pytest.mark.parametrize("token", ["all", "reader", "trigger", "alice", "ops"])
def test_exactly_the_scope_opens_the_route(
    shared: TestClient, method: str, path: str, scope: str, token: str
) -> None:
    held = next(t.scopes for t in ALL_TOKENS if t.name == token)
    status = call(shared, method, path, **bearer(token))
    assert (status == 403) == (scope not in held)
    assert status in (403, 200, 400, 404)


WRONG = {
    "none": {},
    "empty": {"Authorization": ""},
    "unknown": {"Authorization": "Bearer tok-all-0123456789abcdeg"},
    "expired": {"Authorization": f"Bearer {TOKENS['old']}"},
    "basic": {"Authorization": f"Basic {TOKENS['all']}"},
    "bare": {"Authorization": TOKENS["all"]},
    "two words": {"Authorization": f"Bearer {TOKENS['all']} x"},
    "its hash": {"Authorization": f"Bearer {ALL_TOKENS[0].sha256}"},
    "longer": {"Authorization": f"Bearer {TOKENS['all']}a"},
    "huge": {"Authorization": "Bearer " + "a" * 5000},
    "query": {"x-api-key": TOKENS["all"]},
}


@pytest.mark.parametrize(("method", "path", "scope"), GUARDED)
@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG)
def test_without_a_good_token_nothing_opens(
    shared: TestClient, method: str, path: str, scope: str, headers: dict[str, str]
) -> None:
    assert call(shared, method, path, **headers) == 401


def test_a_401_says_how(client: TestClient) -> None:
    none = client.get("/v1/runs")
    bad = client.get("/v1/runs", headers={"Authorization": "Bearer nonsense"})
    assert none.headers["www-authenticate"] == 'Bearer realm="gemini-orchestrator"'
    assert 'error="invalid_token"' in bad.headers["www-authenticate"]
    assert bad.json() == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "this token is unknown or has expired",
    }


def test_a_403_names_the_scope(client: TestClient) -> None:
    answer = client.post("/v1/runs/run_x/cancel", headers=bearer("reader"))
    assert (answer.status_code, answer.json()["detail"]) == (403, "this token lacks the scope operate")
    assert 'scope="operate"' in answer.headers["www-authenticate"]


def test_bearer_in_any_case(client: TestClient) -> None:
    assert client.get("/v1/runs", headers={"Authorization": f"bEaReR {TOKENS['all']}"}).status_code == 200


def test_a_token_expires_at_its_instant(client: TestClient, house: House) -> None:
    house.clock.now = later(seconds=-1)
    assert client.get("/v1/runs", headers=bearer("old")).status_code == 200
    house.clock.now = later()
    assert client.get("/v1/runs", headers=bearer("old")).status_code == 401


def test_foreign_and_unknown_ids_answer_alike(client: TestClient, house: House) -> None:
    answers = [client.get(f"/v1/{p}_0123/", headers=bearer()).json() for p in ("runs/run", "approvals/apr")]
    assert [a["status"] for a in answers] == [404, 404]


def test_strangers_are_refused_before_their_body_is_looked_at(client: TestClient) -> None:
    headers = {"content-type": "application/json"}
    assert client.post("/v1/workflows/refund/runs", content=b"[" * 60_000, headers=headers).status_code == 401


# ------------------------------------------------------------------ pace


def test_the_pace_of_a_token(house: House) -> None:
    app = house.app(limits=Limits(requests_per_minute=3))
    with TestClient(app) as client:
        paths = ("/v1/tools", "/v1/runs", "/v1/workflows", "/v1/approvals")  # one bucket for all of them
        codes = [client.get(path, headers=bearer()).status_code for path in paths]
        assert codes == [200, 200, 200, 429]
        assert client.get("/v1/tools", headers=bearer()).headers["retry-after"] == "20"
        assert client.get("/v1/tools", headers=bearer("reader")).status_code == 200  # each its own
        house.clock.now = later(seconds=19)
        assert client.get("/v1/tools", headers=bearer()).status_code == 429
        house.clock.now = later(seconds=21)
        assert client.get("/v1/tools", headers=bearer()).status_code == 200


def test_a_clock_set_back_gives_nothing_away(house: House) -> None:
    with TestClient(house.app(limits=Limits(requests_per_minute=1))) as client:
        assert client.get("/v1/tools", headers=bearer()).status_code == 200
        house.clock.now = later(hours=-1)
        assert client.get("/v1/tools", headers=bearer()).status_code == 429


def test_probes_have_no_pace(house: House) -> None:
    with TestClient(house.app(limits=Limits(requests_per_minute=1))) as client:
        assert {client.get("/healthz").status_code for _ in range(5)} == {200}


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("method", "path", "status", "detail"),
    [
        ("GET", "/nope", 404, "there is nothing at this address; /docs tells what there is"),
        ("DELETE", "/v1/runs", 405, "DELETE is not taken here; taken are: GET, HEAD, OPTIONS"),
        ("PUT", "/v1/runs/run_x/cancel", 405, "PUT is not taken here; taken are: OPTIONS, POST"),
        ("GET", "/", 404, "there is nothing at this address; /docs tells what there is"),
    ],
)
def test_errors_of_the_framework_have_the_same_shape(
    shared: TestClient, method: str, path: str, status: int, detail: str
) -> None:
    answer = shared.request(method, path, headers=bearer())
    told = answer.json()
    assert (answer.status_code, told["status"], told["detail"]) == (status, status, detail)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"


def test_a_mistake_of_ours_is_logged_and_not_told(house: House) -> None:
    class Broken:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError("canary-secret")

    app = house.app(intake=Broken())
    with TestClient(app, raise_server_exceptions=False) as client, structlog.testing.capture_logs() as logs:
        answer = client.post("/v1/runs/run_x/cancel", headers=bearer())
    assert (answer.status_code, answer.json()) == (
        500,
        {"type": "about:blank", "title": "Internal Server Error", "status": 500},
    )
    (entry,) = [e for e in logs if e["event"] == "request_failed"]
    assert (entry["error"], entry["route"]) == ("RuntimeError", "/v1/runs/{run_id}/cancel")
    assert "canary" not in str(logs) + answer.text


def test_a_database_that_is_away_is_a_503(house: House) -> None:
    def drop(s: object) -> None:
        s.connection().exec_driver_sql("DROP TABLE event")  # type: ignore[attr-defined]

    house.write(drop)
    app = house.app()
    with TestClient(app, raise_server_exceptions=False) as client, structlog.testing.capture_logs() as logs:
        answer = client.post("/v1/workflows/refund/runs", json={"input": "canary-input"}, headers=bearer())
    (entry,) = [e for e in logs if e["event"] == "request_failed"]
    assert entry["why"] == "no such table: event", "a full disk and a closed door want different hands"
    assert "canary" not in str(logs)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "canary" not in answer.text
    assert "event" not in answer.text


def test_answers_are_not_kept_or_sniffed(client: TestClient) -> None:
    answer = client.get("/v1/runs", headers=bearer())
    assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == (
        "no-store",
        "nosniff",
    )


def test_a_handler_without_a_scope_lets_nobody_in(house: House) -> None:
    """The gatekeeper fails closed: `None` is in nobody's scopes."""
    tokens = tuple(replace(t, scopes=frozenset()) for t in ALL_TOKENS)
    with TestClient(house.app(tokens=tokens)) as client:
        assert client.get("/v1/runs", headers=bearer()).status_code == 403


def test_a_head_is_answered_as_the_get_without_its_body(house: House) -> None:
    """Monitors ask that way. A record goes on as a stream only for who reads it."""
    with TestClient(house.app()) as client:
        for path in ("/healthz", "/readyz", "/v1/runs", "/v1/runs/nobody", "/docs/openapi.json", "/nowhere"):
            sent = {**bearer("reader"), "accept": "text/event-stream"}
            got, head = client.get(path, headers=bearer("reader")), client.head(path, headers=sent)
            assert (head.status_code, head.content) == (got.status_code, b""), path
            assert head.headers["content-type"] == got.headers["content-type"]
        assert client.head("/v1/runs").status_code == 401
        assert client.head("/v1/workflows/refund/runs", headers=bearer("all")).status_code == 405


def test_what_is_allowed_is_what_works(house: House) -> None:
    with TestClient(house.app()) as client:
        for path in ("/v1/runs", "/healthz", "/metrics"):
            refused = client.put(path, headers=bearer("reader"))
            assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS"), path
            told = client.options(path, headers=bearer("reader"))
            assert (told.status_code, told.headers["allow"]) == (204, "GET, HEAD, OPTIONS"), path
        assert client.options("/v1/runs").status_code == 401
        post = client.get("/v1/workflows/refund/runs", headers=bearer("all"))
        assert (post.status_code, post.headers["allow"]) == (405, "OPTIONS, POST")
        told = client.options("/v1/workflows/refund/runs", headers=bearer("all"))
        assert (told.status_code, told.headers["allow"]) == (204, "OPTIONS, POST")
