"""A run's record as server-sent events, over real sockets, on both databases."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from litestar.testing import TestClient
from stream_kit import (
    ON_POSTGRESQL,
    ON_SQLITE,
    Message,
    fill,
    opened,
    problem_of,
    streaming,
)
from support.patience import until
from web_kit import House

from orchestrator.domain.values import replace
from orchestrator.store.database import Database
from orchestrator.web.stream import BATCH, MEDIA

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[House]:
    with streaming(tmp_path, database_url) as house:
        yield house


# ------------------------------------------------------------------ what is sent


async def test_a_stream_says_what_the_page_says_and_goes_on(house: House) -> None:
    async with opened(house) as place:
        run_id = await place.begin()
        await place.fill(run_id, 2)
        async with place.stream(run_id) as listener:
            told = [await listener.next() for _ in range(3)]
            assert [m.data for m in told if m] == await place.page(run_id)
            assert [(m.event, m.id) for m in told if m] == [("entry", "1"), ("entry", "2"), ("entry", "3")]
            await place.fill(run_id, 1)
            assert await listener.seq() == 4
            await place.cancel(run_id)
            assert await listener.seq() == 5
            assert await listener.rest() == [Message("end", None, {"status": "cancelled"})]


async def test_what_the_answer_says_of_itself(house: House) -> None:
    async with opened(house) as place, place.stream(await place.begin()) as listener:
        headers = listener.answer.headers
    assert listener.answer.status_code == 200
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert headers["x-accel-buffering"] == "no"
    assert headers["x-content-type-options"] == "nosniff"
    assert "content-length" not in headers


@ON_SQLITE
async def test_a_closed_run_is_told_whole_and_ended(house: House) -> None:
    async with opened(house) as place:
        run_id = await place.begin()
        await place.fill(run_id, BATCH - 2)
        await place.cancel(run_id)  # exactly one batch
        async with place.stream(run_id) as listener:
            assert await listener.take(BATCH) == list(range(1, BATCH + 1))
            assert [m.event for m in await listener.rest()] == ["end"]
        async with place.stream(run_id, last=BATCH) as listener:
            assert [m.event for m in await listener.rest()] == ["end"]


@ON_SQLITE
async def test_a_long_record_comes_in_order(house: House) -> None:
    async with opened(house) as place:
        run_id = await place.begin()
        await place.fill(run_id, 3 * BATCH + 1)
        async with place.stream(run_id) as listener:
            assert await listener.take(3 * BATCH + 2) == list(range(1, 3 * BATCH + 3))


# ------------------------------------------------------------------ coming back


async def test_who_comes_back_misses_nothing_and_hears_nothing_twice(house: House) -> None:
    async with opened(house) as place:
        run_id = await place.begin()
        await place.fill(run_id, 3)
        async with place.stream(run_id) as listener:
            assert await listener.take(2) == [1, 2]
        await place.fill(run_id, 2)
        async with place.stream(run_id, last=2) as listener:
            assert await listener.take(4) == [3, 4, 5, 6]
            await place.fill(run_id, 1)
            assert await listener.seq() == 7
        async with place.stream(run_id, last=7) as listener:
            await place.fill(run_id, 1)
            assert await listener.seq() == 8


async def test_many_breaks_while_much_is_written(house: House) -> None:
    """Cut at any moment and gone on with: every entry once, in order, up to the end."""
    dice = random.Random(4)
    async with opened(house, ping_seconds=0.05) as place:
        run_id = await place.begin()

        async def write() -> None:
            for _ in range(40):
                await place.fill(run_id, dice.choice([1, 1, 2, BATCH]))
                await asyncio.sleep(dice.choice([0, 0.01]))
            await place.cancel(run_id)

        async def follow(breaks: bool) -> list[int]:
            seen: list[int] = []
            while True:
                async with place.stream(run_id, last=seen[-1] if seen else None) as listener:
                    for _ in range(dice.randrange(1, 40) if breaks else 10**6):
                        message = await listener.next()
                        assert message is not None
                        if message.event == "end":
                            return seen
                        seen.append(message.data["seq"])

        *heard, _ = await asyncio.gather(*(follow(n > 0) for n in range(4)), write())
        last = (await place.http.get(f"/v1/runs/{run_id}/events?after=0&limit=100")).json()["items"][-1][
            "seq"
        ]
        while more := (await place.http.get(f"/v1/runs/{run_id}/events?after={last}")).json()["items"]:
            last = more[-1]["seq"]
        assert heard == [list(range(1, last + 1))] * 4
        assert last > 80


@ON_SQLITE
async def test_where_a_stream_begins(house: House) -> None:
    async with opened(house) as place:
        run_id = await place.begin()
        await place.fill(run_id, 4)
        for last, query, first in [
            (None, "", 1),
            (None, "?after=3", 4),
            (2, "?after=4", 3),
            (0, "?after=4", 1),
            ("0002", "", 3),
            (None, "?limit=1", 1),
        ]:
            async with place.stream(run_id, last, query) as listener:
                assert await listener.take(6 - first) == list(range(first, 6))


WRONG = ["x", "-1", "1.5", "", "1 1", "+1", "1_0", "٣", "99999999999", "2147483648", "0x1", "1, 2"]


@ON_SQLITE
@pytest.mark.parametrize("last", WRONG)
async def test_a_last_event_id_that_is_none_of_ours(house: House, last: str) -> None:
    async with opened(house) as place:
        run_id = await place.begin()
        headers = {"accept": MEDIA, "last-event-id": last.encode()}
        answer = await place.http.get(f"/v1/runs/{run_id}/events", headers=headers)  # type: ignore[arg-type]
        assert problem_of(answer, 400) == ["Last-Event-ID"]
        page = await place.http.get(f"/v1/runs/{run_id}/events", headers={"last-event-id": "x"})
        assert page.status_code == 200, "of a page it says nothing"


@ON_SQLITE
async def test_a_place_beyond_the_record_or_two_places(house: House) -> None:
    """Waiting there would leave out what comes first: the client means another run."""
    async with opened(house) as place:
        run_id = await place.begin()
        events = f"/v1/runs/{run_id}/events"
        beyond = await place.http.get(events, headers={"accept": MEDIA, "last-event-id": "2"})
        assert problem_of(beyond, 400) == ["Last-Event-ID"]
        assert problem_of(await place.http.get(f"{events}?after=2", headers={"accept": MEDIA}), 400) == [
            "after"
        ]
        twice = [("accept", MEDIA), ("last-event-id", "1"), ("last-event-id", "1")]
        assert problem_of(await place.http.get(events, headers=twice), 400) == ["Last-Event-ID"]
        assert (await place.http.get(f"{events}?after=-1", headers={"accept": MEDIA})).status_code == 400
        assert (await place.http.get(f"{events}?after=2")).json()["items"] == [], "a page is as before"


# ------------------------------------------------------------------ which process


@ON_POSTGRESQL
async def test_another_process_writes(house: House, database_url: str) -> None:
    """At once: the silence after which a stream looks by itself is far away."""
    other = Database(database_url)
    try:
        async with opened(house, ping_seconds=600) as place:
            run_id = await place.begin()
            async with place.stream(run_id) as listener:
                assert await listener.seq() == 1
                for seq in range(2, 12):
                    await other.write(fill, run_id, 1)
                    assert await listener.seq() == seq
    finally:
        other.close()


@ON_POSTGRESQL
async def test_gone_on_with_at_another_process(house: House, database_url: str) -> None:
    other = Database(database_url)
    second = replace(house, database=other, doors=replace(house.doors, database=other))
    try:
        async with opened(house) as here, opened(second) as there:
            run_id = await here.begin()
            async with here.stream(run_id) as listener:
                assert await listener.seq() == 1
            await here.fill(run_id, 2)
            async with there.stream(run_id, last=1) as listener:
                assert await listener.take(2) == [2, 3]
                await here.cancel(run_id)
                assert [m.event for m in await listener.rest()] == ["entry", "end"]
    finally:
        other.close()


async def test_a_hint_that_is_lost_only_delays(house: House) -> None:
    async with opened(house, ping_seconds=0.05) as place:
        run_id = await place.begin()
        async with place.stream(run_id) as listener:
            assert await listener.seq() == 1
            place.streams.changes._ring = lambda run_ids: None  # type: ignore[method-assign]
            await place.fill(run_id, 1)
            assert await listener.seq() == 2
            del place.streams.changes._ring


@ON_SQLITE
async def test_silence_is_broken_by_comments(house: House) -> None:
    async with opened(house, ping_seconds=0.02) as place:
        run_id = await place.begin()
        async with place.stream(run_id) as listener:
            assert await listener.seq() == 1
            late = asyncio.create_task(listener.next())
            await until(lambda: listener.comments >= 3)
            await place.cancel(run_id)
            message = await late
            assert message is not None
            assert message.event == "entry"


# ------------------------------------------------------------------ which form


FORMS = {
    MEDIA: MEDIA,
    "Text/Event-Stream": MEDIA,
    f"{MEDIA}, */*;q=0.1": MEDIA,
    f"application/json;q=0.5, {MEDIA}": MEDIA,
    "*/*": "application/json",
    "": "application/json",
    "text/html, */*;q=0.8": "application/json",
    f"application/json, {MEDIA}": "application/json",
    f"{MEDIA};q=0.1, application/json": "application/json",
    f"{MEDIA};q=inf": "application/json",
    ";;,=;q=": "application/json",
}


@ON_SQLITE
async def test_who_prefers_the_stream_gets_it(house: House) -> None:
    async with opened(house) as place:
        run_id = await place.begin()
        await place.cancel(run_id)
        for accept, form in FORMS.items():
            answer = await place.http.get(f"/v1/runs/{run_id}/events", headers={"accept": accept})
            assert answer.status_code == 200, accept
            assert answer.headers["content-type"].partition(";")[0] == form, accept


@ON_SQLITE
async def test_the_document_names_both_forms(house: House) -> None:
    with TestClient(house.app()) as client:
        spec = client.get("/docs/openapi.json").json()
        page = client.get("/docs").text
    record = spec["paths"]["/v1/runs/{run_id}/events"]["get"]
    content = record["responses"]["200"]["content"]
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/EventPage"}
    assert content[MEDIA]["schema"]["type"] == "string"
    assert set(record["responses"]) == {"200", "400", "401", "403", "404", "429", "500", "503"}
    assert ("Last-Event-ID", "header") in {(p["name"], p["in"]) for p in record["parameters"]}
    assert "Last-Event-ID" in page
