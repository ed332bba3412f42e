"""A request of each kind that people write by hand, as the OpenAPI document and its page show it."""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.web.schemas.decisions import Answer, Decisions
from orchestrator.web.schemas.inquiries import NewInquiry
from orchestrator.web.schemas.orders import NewRun, Resolution

SAMPLES: Final[Mapping[type, Mapping[str, Any]]] = {
    NewRun: {"input": "Order A-1042 arrived broken. Please refund it.", "idempotency_key": "order-1042"},
    Answer: {"verdict": "reject", "reason": "It was bought two years ago.", "digest": "171cb67ffe856bb6"},
    Decisions: {
        "decisions": [
            {
                "approval": "apr_6c0232508ec67271998c3279",
                "digest": "171cb67ffe856bb6",
                "verdict": "approve",
            }
        ]
    },
    Resolution: {"choice": "happened", "result": {"refund_id": "R-1"}},
    NewInquiry: {"question": "Has this customer asked before?"},
}
"""By the schema that each fits."""
