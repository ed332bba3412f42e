"""Receipts of decisions: what was decided about whom, by whom, on which grounds; a file each, never changed.

They lie in the folder `RECEIPTS`, or `receipts` below the working directory, under the call's id: the same
call tried again finds its receipt. The text a decision rests on is not copied but pinned by its checksum.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from orchestrator import ToolContext, ToolError, tool


@tool(approval="allow", idempotent=True)
def record_decision(
    subject: Annotated[str, Field(min_length=1, max_length=20_000)],
    verdict: Literal["accepted", "not accepted"],
    ctx: ToolContext,
    by: Annotated[list[dict[str, str]], Field(max_length=20)] | None = None,
    grounds: str = "",
    reason: Annotated[str, Field(max_length=20_000)] = "",
    run: Annotated[str, Field(max_length=100)] = "",
) -> dict[str, str]:
    """Write the receipt of a decision.

    Args:
        subject: Whom or what it is about.
        verdict: What was decided.
        by: Who said yes, in which stage and when.
        grounds: The text it rests on; its checksum is kept.
        reason: Why it was not accepted.
        run: Where it was decided; else this run.
    """
    receipt = {
        "receipt": ctx.call_id,
        "run": run or ctx.run_id,
        "subject": subject,
        "verdict": verdict,
        "by": by or [],
        "reason": reason,
        "grounds_sha256": hashlib.sha256(grounds.encode()).hexdigest() if grounds else "",
    }
    text = json.dumps(receipt, ensure_ascii=False, indent=2) + "\n"
    _keep(ctx.call_id, text)
    return {"receipt": ctx.call_id, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _keep(name: str, text: str) -> None:
    """Whole or not at all, on disk before the tool answers; another text of that name is left as it is."""
    folder = Path(os.environ.get("RECEIPTS", "receipts"))
    folder.mkdir(parents=True, exist_ok=True)
    path, part = folder / f"{name}.json", folder / f".{name}.part"
    if not path.exists():
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    if _read(path) != json.loads(text):
        raise ToolError("There is another receipt of this call; it was not changed.")


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
