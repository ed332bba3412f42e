"""What the tests of the local Slack share."""

from typing import Any

import pytest
from slack_sdk.errors import SlackApiError


async def refused(call: Any) -> Any:
    """What Slack's client raises for `call`: its response."""
    with pytest.raises(SlackApiError) as caught:
        await call
    return caught.value.response


async def error_of(call: Any) -> str:
    """Slack's word for what was wrong with `call`."""
    return str((await refused(call))["error"])
