"""A complete tree of settings, the four secrets, and a way to load what a test makes of them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.settings import Settings, load

WEBHOOK_SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
SECRETS = {
    "GEMINI_API_KEY": "canary-gemini-key",
    "GEMINI_WEBHOOK_SECRETS": WEBHOOK_SECRET,
    "SLACK_BOT_TOKEN": "xoxb-canary",
    "SLACK_SIGNING_SECRET": "canary-signing",
}


@pytest.fixture
def secrets() -> dict[str, str]:
    return dict(SECRETS)


@pytest.fixture
def tree() -> dict[str, Any]:
    """Settings with one of everything that has a name."""
    return {
        "slack": {"channel": "C0APPR"},
        "approvals": {
            "approvers": ["U0ALICE", "api:ci"],
            "roles": {"finance": ["U0CAROL", "U0DAVE"]},
            "forbidden": [{"tool": "delete_*", "reason": "Nothing is deleted."}],
        },
        "tools": {
            "modules": ["orders"],
            "overrides": {
                "refund_order": {"approval": "ask"},
                "wire_money": {"stages": [{"name": "legal", "approvers": ["U0BOB"]}]},
            },
        },
        "workflows": {
            "refund": {
                "model": "gemini-3.8-flash",
                "tools": ["refund_order"],
                "overrides": {"refund_order": {"approval": "deny"}},
                "limits": {"max_turns": 5},
            }
        },
        "api": {"tokens": [{"name": "ci", "sha256": "0" * 64, "scopes": ["trigger", "decide"]}]},
    }


Load = Callable[..., Settings]


@pytest.fixture
def load_text(tmp_path: Path, secrets: dict[str, str]) -> Load:
    """Load YAML text as `config.yaml`; keywords are further variables, None takes one away."""

    def act(text: str, **variables: str | None) -> Settings:
        file = tmp_path / "config.yaml"
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        environ = {k: v for k, v in {**secrets, **variables}.items() if v is not None}
        return load(file, environ)

    return act


@pytest.fixture
def load_tree(load_text: Load) -> Load:
    def act(tree: Mapping[str, Any], **variables: str | None) -> Settings:
        return load_text(yaml.safe_dump(dict(tree), sort_keys=False), **variables)

    return act
