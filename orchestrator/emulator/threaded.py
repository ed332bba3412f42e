"""The stand-in Gemini in a thread of its own, beside a webhook address that notes what it is sent.

For tests, synchronous or not, that talk to it over HTTP with the real client and steer it by method calls.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self, TypeVar

from orchestrator.emulator.gemini.app import build
from orchestrator.emulator.gemini.clock import VirtualClock
from orchestrator.emulator.gemini.emulator import Emulator
from orchestrator.emulator.gemini.settings import EmulatorSettings, StaticWebhook
from orchestrator.emulator.serving import running

Json = dict[str, Any]
T = TypeVar("T")

KEY: Final = "test-key"
OTHER_KEY: Final = "other-test-key"  # of a second project, which sees nothing of the first
WEBHOOK_SECRET: Final = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="  # noqa: S105 - made up
STEERING_SECONDS: Final = 60.0  # how long a method call may take before the test is stuck


@dataclass(frozen=True)
class Received:
    """A delivery as it arrived: enough to post it once more to a test client of one's own."""

    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> Json:
        """The body as JSON.

        Raises:
            ValueError: It is none.
        """
        parsed: Json = json.loads(self.body)
        return parsed


@dataclass
class Mailbox:
    """The ASGI app behind the webhook address: takes everything, unless `answers` says otherwise."""

    answers: list[int] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.received.append(Received(headers, body))
        status = self.answers.pop(0) if self.answers else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


class GeminiEmulator:
    """A Gemini that runs while the `with` block does, on a virtual clock unless `options` name another.

    Args:
        options: Of `EmulatorSettings`.
        webhook_url: Where the registered webhook delivers; None is a mailbox of our own, see `received`.

    Attributes:
        base_url: For `HttpOptions(base_url=...)`.
        key, other_key: API keys of two projects; the webhook is registered in the first.
        webhook_secret: Signs static deliveries.
        webhook_url: Where they go.
    """

    base_url: str
    webhook_url: str
    key: str = KEY
    other_key: str = OTHER_KEY
    webhook_secret: str = WEBHOOK_SECRET

    def __init__(self, *, webhook_url: str | None = None, **options: Any) -> None:
        self._options, self._given_url = options, webhook_url
        self._mailbox = Mailbox()
        self._ready: Future[Emulator] = Future()
        self._thread = threading.Thread(target=self._run, name="gemini-emulator", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.emulator = self._ready.result(STEERING_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STEERING_SECONDS)

    # What the model does.

    def script(self, *turns: str | list[tuple[str, Json]] | Json, **options: Any) -> None:
        """Write the model's turns, for the conversations to come.

        Args:
            turns: Each a text the model says, a list of calls as `(name, arguments)`, or a mapping with the
                keys of a scenario's turn (`calls`, `text`, `think`, `status`, `errors`, ...).
            options: Of the scenario: `match`, `times`, `repeat`, `name`.

        Raises:
            ScenarioError: It cannot be played.
        """
        scenario = {"name": "script", **options, "turns": [_turn(turn) for turn in turns]}
        self._call(lambda: self.emulator.add_scenarios({"scenarios": [scenario]}))

    def move(self, interaction: str, status: str, **options: Any) -> None:
        """Bring an interaction to a status at once; as `Emulator.move`.

        Raises:
            KeyError: No such interaction.
        """
        self._await(self.emulator.move(interaction, status, **options))

    def script_job(self, **plan: Any) -> None:
        """Say how a video or a batch to come goes: the fields of `gemini.plans.Plan`.

        Raises:
            ScenarioError: It cannot be followed.
        """
        self._call(lambda: self.emulator.add_jobs([plan]))

    def end_video(self, name: str, end: str | None = None) -> None:
        """Bring a video to an end at once; as `Emulator.end_video`.

        Raises:
            KeyError: No such operation.
        """
        self._call(lambda: self.emulator.end_video(name, end))

    def end_batch(self, name: str, state: str, message: str = "The batch failed.") -> None:
        """Bring a batch to an end at once; as `Emulator.end_batch`.

        Raises:
            KeyError: No such batch.
        """
        self._call(lambda: self.emulator.end_batch(name, state, message))

    # Time.

    def now(self) -> datetime:
        """The emulator's instant, aware, in UTC; fit to be handed to a service as its clock."""
        return self.emulator.clock.now()

    def advance(self, seconds: float) -> None:
        """Turn the clock; on return everything that fell due, webhooks included, has happened.

        A receiver that runs in the event loop of the calling test cannot answer meanwhile: there,
        await `advance_async`.
        """
        self._await(self.emulator.advance(seconds))

    async def advance_async(self, seconds: float) -> None:
        """`advance`, for a test whose event loop has something to do meanwhile."""
        turned = asyncio.run_coroutine_threadsafe(self.emulator.advance(seconds), self._loop)
        await asyncio.wrap_future(turned)

    # Faults and webhooks.

    def inject(self, operation: str, kind: str, **options: Any) -> None:
        """Queue a fault; `gemini.faults` has the kinds and options.

        Raises:
            ValueError: Unknown operation, kind or option.
        """
        self._call(lambda: self.emulator.inject(operation, kind, **options))

    def deliver(self, **options: Any) -> list[int | None]:
        """Send a webhook now, right or wrong; as `Emulator.deliver`. Returns the receiver's statuses.

        Raises:
            KeyError: No such delivery or interaction.
        """
        return [attempt.status for attempt in self._await(self.emulator.deliver(**options))]

    def release(self, *, newest_first: bool = False) -> int:
        """Send what the fault `hold` has kept; returns how many there were."""
        return self._await(self.emulator.release(newest_first=newest_first))

    def answer_webhooks(self, *statuses: int) -> None:
        """How the mailbox answers the next deliveries; after those it answers 200 again."""
        self._mailbox.answers = list(statuses)

    @property
    def received(self) -> list[Received]:
        """What came to the mailbox, oldest first."""
        return list(self._mailbox.received)

    # What was asked.

    @property
    def requests(self) -> list[Json]:
        """Every request: `operation`, `method`, `path`, `query`, `headers`, `body`, and our `status`."""
        return list(self.emulator.requests)

    @property
    def asked(self) -> list[Json]:
        """The bodies of the creates, refused ones too, oldest first."""
        return [request["body"] for request in self.requests if request["operation"] == "create"]

    def stats(self) -> Json:
        """What has happened so far; as `Emulator.stats`."""
        return self._call(self.emulator.stats)

    def ledger(self) -> Json:
        """How often each long job was begun, read and fetched; as `gemini.ledger.ledger`."""
        return self._call(self.emulator.ledger)

    def reset(self) -> None:
        """Back to the beginning, with an empty mailbox."""
        self._await(self.emulator.reset())
        self._mailbox.answers, self._mailbox.received = [], []

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with running(self._mailbox) as mailbox:
            self.webhook_url = self._given_url or f"{mailbox}/webhooks/gemini"
            app = build(EmulatorSettings(**self._settings()))
            async with running(app) as self.base_url:
                self._ready.set_result(app.state.emulator)
                await self._stop.wait()

    def _settings(self) -> Json:
        hook = StaticWebhook(self.webhook_url, WEBHOOK_SECRET, name="test", project=KEY)
        ours: Json = {"clock": VirtualClock(), "accepted_keys": (KEY, OTHER_KEY), "webhooks": (hook,)}
        return {**ours, "seed": 1, "real_timestamps": True, **self._options}

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(STEERING_SECONDS)

    def _call(self, work: Callable[[], T]) -> T:
        async def do() -> T:
            return work()

        return self._await(do())


def _turn(turn: str | list[tuple[str, Json]] | Json) -> Json:
    if isinstance(turn, str):
        return {"text": turn}
    if isinstance(turn, Mapping):
        return dict(turn)
    return {"calls": [{"name": name, "arguments": arguments} for name, arguments in turn]}
