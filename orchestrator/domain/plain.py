"""JSON, as the domain takes it."""

import json
from collections.abc import Mapping
from typing import Any

JsonObject = Mapping[str, Any]


def exact(arguments: JsonObject) -> str:
    """Equal for equal JSON only, types and all."""
    return json.dumps(dict(arguments), sort_keys=True)
