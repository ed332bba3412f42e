"""An answered request leaves nothing behind in the process, whatever it asked."""

import gc
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from weakref import ReferenceType

import pytest
from litestar.testing import TestClient
from web_kit import House, bearer

WARM = 20
TIMES = 150
FEW = 100
"""Below it, it is something that happens once, a cache or a table that grows at some moment."""
ROUNDS = 2
"""What is left behind is so each time; asyncio keeps some hundred cancelled timers, with their contexts."""


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/runs?limit=5", bearer("reader")),
        ("/v1/approvals?status=pending", bearer("reader")),
        ("/v1/runs?stauts=failed", bearer("reader")),
        ("/v1/runs?cursor=nonsense", bearer("reader")),
        ("/v1/runs/{run}", bearer("reader")),
        ("/v1/runs/{run}/events?after=1", bearer("reader")),
        ("/v1/runs/run_unknown", bearer("reader")),
        ("/v1/effects?state=dead", bearer("ops")),
        ("/v1/runs", {"authorization": "Bearer nobody-knows-this-one"}),
        ("/nowhere", {}),
        ("/readyz", {}),
        ("/metrics", bearer("reader")),
    ],
)
def test_reading_leaves_no_objects(house: House, path: str, headers: Mapping[str, str]) -> None:
    run = house.asked().id
    with TestClient(house.app()) as client:
        assert_flat(client, path.format(run=run), headers)


@pytest.mark.parametrize("path", ["/webhooks/gemini", "/slack/interactivity"])
def test_what_is_refused_at_a_signed_door_leaves_no_objects(house: House, path: str) -> None:
    with TestClient(house.app()) as client:
        assert_flat(client, path, {"webhook-id": "msg_1"}, method="POST")


def assert_flat(client: TestClient, path: str, headers: Mapping[str, str], method: str = "GET") -> None:
    alive = [kept(client, path, headers, times, method) for times in (WARM, *[TIMES] * ROUNDS)]
    grown = [after - before for before, after in pairwise(alive)]
    assert not {name: more for name in alive[-1] if min(more := [g[name] for g in grown]) >= FEW}


def kept(client: TestClient, path: str, headers: Mapping[str, str], times: int, method: str) -> Counter[str]:
    """What is alive, by type, after so many requests.

    But for weak references: sqlite3 has one for each cursor, and drops the dead ones 200 at a time.
    """
    for _ in range(times):
        assert client.request(method, path, headers=dict(headers)).status_code != 500
    gc.collect()
    return Counter(type(o).__qualname__ for o in gc.get_objects() if not isinstance(o, ReferenceType))
