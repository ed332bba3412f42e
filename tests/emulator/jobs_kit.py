"""What the tests of the emulator's long jobs share: one emulator for a module, the real client, requests."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from google import genai
from google.genai import types

from orchestrator.emulator.serving import authorities
from orchestrator.emulator.threaded import GeminiEmulator

VEO = "veo-3.1-generate-preview"
OMNI = "gemini-omni-1.2-flash"
FLASH = "gemini-3.8-flash"


@dataclass
class Stand:
    """A running emulator, the real client and a plain one beside it."""

    gemini: GeminiEmulator
    client: Any  # a `genai.Client`; its answers are `Optional` throughout
    http: httpx.Client

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request that the client library cannot make."""
        return self.http.request(method, self.gemini.base_url + path, **options)

    def film(self, job: str = "job_1", prompt: str = "A bee.", **parameters: Any) -> httpx.Response:
        """Start a video as the service does."""
        hook = {"uris": [self.gemini.webhook_url], "user_metadata": {"job": job}}
        body = {"instances": [{"prompt": prompt}], "parameters": parameters, "webhookConfig": hook}
        return self.ask("POST", f"/v1beta/models/{VEO}:predictLongRunning", json=body)

    def read(self, name: str) -> Any:
        """An operation through the library."""
        return self.client.operations.get(types.GenerateVideosOperation.model_validate({"name": name}))

    def batch(self, src: Any, name: str = "job_b") -> Any:
        """Start a batch through the library; events go to the registered webhook."""
        hook = types.WebhookConfig(user_metadata={"job": name})
        config = types.CreateBatchJobConfig(display_name=name, webhook_config=hook)
        return self.client.batches.create(model=FLASH, src=src, config=config)

    def events(self, of: str = "") -> list[Any]:
        """The bodies that came to the mailbox, those of one type."""
        return [r.event for r in self.gemini.received if of in r.event["type"]]


def line(key: str, text: str) -> dict[str, Any]:
    """A line of an input file."""
    return {"key": key, "request": {"contents": [{"role": "user", "parts": [{"text": text}]}]}}


def jsonl(*lines: Any) -> bytes:
    """The input file."""
    return "".join(json.dumps(one) + "\n" for one in lines).encode()


@contextmanager
def standing(**options: Any) -> Iterator[Stand]:
    """An emulator on a virtual clock with both clients."""
    with GeminiEmulator(seed=7, **options) as gemini:
        retries = types.HttpRetryOptions(attempts=1)
        http = types.HttpOptions(
            base_url=gemini.base_url, api_version="v1beta", timeout=60_000, retry_options=retries
        )
        client = genai.Client(api_key=gemini.key, http_options=http)
        headers = {"x-goog-api-key": gemini.key}
        with httpx.Client(headers=headers, trust_env=False, timeout=60, verify=authorities()) as plain:
            yield Stand(gemini, client, plain)
        client.close()
