"""What the toolkit and the policy say about a call, and what a running tool may know."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from orchestrator.domain.consent import SEAL, Actor, Approval, Preview, Terms
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.values import Value, field


class Ruling(StrEnum):
    """What policy says about a call before any person is asked."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"
    UNKNOWN = "unknown"  # no such tool in this workflow
    INVALID = "invalid"  # the arguments do not fit the tool's schema


class Assessment(Value):
    """What the toolkit and the policy say about one function call, at one moment.

    `arguments` are as they would run: validated, in the schema's types, plain JSON.
    `reason` is for the model when the call is not to run. `digest` seals all of it; `former` does so as an
    earlier release did, for a question of that release, else it is empty. `previews` says that the tool can
    tell what the call would do, `preview_required` that without that nobody is asked. `asked` counts the
    open questions of each entry of approvers it would be put to; empty where nobody counted.
    """

    call_id: str
    tool: str
    ruling: Ruling
    arguments: JsonObject = field(default_factory=dict)
    reason: str = ""
    digest: str = ""
    idempotent: bool = False
    terms: Terms | None = None
    previews: bool = False
    preview_required: bool = True
    preview: Preview | None = None
    asked: Mapping[str, int] = field(default_factory=dict)
    former: str = ""

    def sealed_like(self, approval: Approval) -> str:
        """The digest, made as that of the question was."""
        return self.digest if approval.seal == SEAL else self.former


class Finding(Value):
    """What the toolkit knows about a wished call: policy applied, arguments made exact.

    `tool_version` hashes schema and code, `policy_version` the rule that was applied; both go
    into the digest. `reason` is for the model when the call may not run. `problems` are what does not fit, as
    (path, text) pairs: the path within the arguments, in dotted form, or `arguments` for the whole of them.
    """

    ruling: Ruling
    arguments: JsonObject = field(default_factory=dict)
    reason: str = ""
    idempotent: bool = False
    terms: Terms | None = None
    tool_version: str = ""
    policy_version: str = ""
    previews: bool = False
    preview_required: bool = True
    problems: tuple[tuple[str, str], ...] = ()


class Consent(Value):
    """One person's yes to a call, as its tool may know it. `stage` is empty where there is but one."""

    by: Actor
    at: datetime
    stage: str = ""


class CallContext(Value):
    """What a running tool may know. `call_id` is stable over restarts: the idempotency key.

    `consents` are the yeses that let it pass, in their order; empty if nobody was asked.
    """

    call_id: str
    run_id: str
    workflow: str
    requester: Actor
    approved_by: Actor | None = None
    consents: tuple[Consent, ...] = ()
