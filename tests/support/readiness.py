"""What a service says of itself at /readyz."""

import httpx
from litestar import Litestar


async def readiness(web: Litestar, name: str) -> tuple[int, str, str]:
    """The answer's status code, and of one check its status and detail, empty where there is none."""
    transport = httpx.ASGITransport(web)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
        answer = await http.get("/readyz")
    check = next((c for c in answer.json()["checks"] if c["name"] == name), {"status": "", "detail": ""})
    return answer.status_code, check["status"], check["detail"]
