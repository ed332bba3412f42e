"""When unattended runs ask: the hour, whose it is, and what is missing where there is none."""

from copy import deepcopy
from datetime import time
from typing import Any

import pytest

from orchestrator.domain.daily import Daily
from orchestrator.errors import ConfigError

EVERY = (0, 1, 2, 3, 4, 5, 6)


def test_an_unattended_workflow_takes_the_usual_hour_or_its_own(tree: Any, load_tree: Any) -> None:
    tree["approvals"]["digest"] = {"at": "07:30", "timezone": "Europe/Berlin", "days": ["fri", "mon"]}
    base = tree["workflows"]["refund"]
    tree["workflows"] |= {
        "nightly": {**deepcopy(base), "attended": False},
        "noon": {**deepcopy(base), "attended": False, "digest": {"at": "12:00"}},
    }
    settings = load_tree(tree)
    assert settings.recipe("refund").collect is None
    assert settings.recipe("nightly").collect == Daily(time(7, 30), "Europe/Berlin", (0, 4))
    assert settings.recipe("noon").collect == Daily(time(12), "UTC", EVERY)


@pytest.mark.parametrize(
    ("workflow", "usual", "says"),
    [
        ({"attended": False}, None, "approvals.digest: is missing; needed because workflows.refund.attended"),
        ({"digest": {"at": "12:00"}}, None, "workflows.refund.digest: needs attended: false beside it"),
        ({"attended": False}, {"at": "7:30"}, "approvals.digest.at: must be a time of day such as 07:30"),
        ({"attended": False}, {"at": "24:00"}, "approvals.digest.at: must be a time of day"),
        ({"attended": False}, {"timezone": "UTC"}, "approvals.digest.at"),
        ({"attended": False}, {"at": "07:30", "timezone": "Mars/Base"}, "approvals.digest.timezone"),
        ({"attended": False}, {"at": "07:30", "days": []}, "approvals.digest.days"),
    ],
)
def test_what_does_not_fit_is_named(tree: Any, load_tree: Any, workflow: Any, usual: Any, says: str) -> None:
    tree["workflows"]["refund"] |= workflow
    if usual is not None:
        tree["approvals"]["digest"] = usual
    with pytest.raises(ConfigError) as fault:
        load_tree(tree)
    assert says in str(fault.value)
