"""Publishing in a CMS: a call over the network that happens once, however often it is tried.

`CMS_URL` is the address of the CMS's API, `CMS_TOKEN` its bearer token, if it wants one. The call's id goes
along as `Idempotency-Key`, so a CMS that keeps to it publishes one post although an answer got lost and the
call came again.
"""

import os
from typing import Annotated, Any

import httpx
from pydantic import Field

from orchestrator import ToolContext, ToolError, tool

TIMEOUT_SECONDS = 10.0
_LATER = (408, 425, 429)


@tool(approval="ask", idempotent=True, retry="transient", timeout_seconds=30)
async def publish_post(
    title: Annotated[str, Field(min_length=1, max_length=200)],
    text: Annotated[str, Field(min_length=1, max_length=20_000)],
    film: Annotated[str, Field(max_length=512)],
    ctx: ToolContext,
    source: Annotated[str, Field(max_length=2000)] = "",
) -> dict[str, Any]:
    """Publish a post with a film; everybody can read it from then on.

    Args:
        title: Its headline.
        text: What it says.
        film: Path of the stored film, as the step that made it names it.
        source: Address of what it is about.
    """
    post = {"title": title, "text": text, "film": film, "source": source}
    answer = await _send(post, ctx.call_id)
    ctx.log.info("published", film=film)
    return {"id": str(answer["id"]), "address": str(answer.get("address", ""))}


async def _send(post: dict[str, str], key: str) -> dict[str, Any]:
    """Raises `ConnectionError` for what may go well later, `ToolError` for what will not."""
    address, token = os.environ.get("CMS_URL"), os.environ.get("CMS_TOKEN")
    if not address:
        raise ToolError("Nothing was published: CMS_URL does not say where the CMS is.")
    headers = {"idempotency-key": key} | ({"authorization": f"Bearer {token}"} if token else {})
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
            answer = await client.post(f"{address.rstrip('/')}/posts", json=post, headers=headers)
    except httpx.TransportError as e:
        raise ConnectionError(f"the CMS could not be asked: {type(e).__name__}") from e
    if answer.status_code >= 500 or answer.status_code in _LATER:
        raise ConnectionError(f"the CMS says HTTP {answer.status_code}")
    if not answer.is_success:
        raise ToolError(f"The CMS does not take it: HTTP {answer.status_code}.")
    told: dict[str, Any] = answer.json()
    return told
