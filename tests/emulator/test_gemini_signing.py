"""The two signatures against published vectors and independent verifiers."""

import base64
import json
from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook

from orchestrator.emulator.gemini.signing import KeySet, sign_static, signed_bytes

MESSAGE = "msg_00000000-0000-4000-8000-000000000001"
TIMESTAMP = 1795255207
BODY = (
    b'{"type":"interaction.requires_action","version":"v1",'
    b'"timestamp":"2026-11-21T10:00:07Z","data":{"id":"v1_run1"}}'
)
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
SEED = bytes(range(0x20, 0x40))


def test_static_vector() -> None:
    assert sign_static(SECRET, MESSAGE, TIMESTAMP, BODY) == "v1,ReZvixNbngM9xjHZyuOfKujG+6vaV5V2DkwPDFP3iPA="


def test_dynamic_vector() -> None:
    keys = KeySet([SEED])
    assert keys.jwks()["keys"][0]["x"] == "Kay64UG8yvCyLhqU000LxzYeUm0L_hLIl5S8kyKWbdc"
    assert keys.sign(MESSAGE, TIMESTAMP, BODY) == (
        "v1a,OgsYXPXn0GdWP0R5xjil68A2I574CP3pAuIHfA6TU4BvTo1tPPIP37rz91Gu0pwbfQXAT54a+z9/c7bOT6abDg=="
    )


def test_static_agrees_with_standardwebhooks() -> None:
    when = datetime.fromtimestamp(TIMESTAMP, UTC)
    theirs = Webhook(SECRET).sign(MESSAGE, when, BODY.decode())
    assert sign_static(SECRET, MESSAGE, TIMESTAMP, BODY) == theirs


def test_a_secret_that_is_not_base64_is_refused() -> None:
    with pytest.raises(ValueError, match="base64"):
        sign_static("whsec_***", MESSAGE, TIMESTAMP, BODY)


def test_keys_take_turns_and_each_is_published() -> None:
    keys = KeySet([bytes([n]) * 32 for n in range(3)])
    signers = []
    for _ in range(3):
        signature = base64.b64decode(keys.sign(MESSAGE, TIMESTAMP, BODY).removeprefix("v1a,"))
        signers.append([n for n, jwk in enumerate(keys.jwks()["keys"]) if _verifies(jwk, signature)])
    assert signers == [[0], [1], [2]]


def test_key_set_is_json_and_marks_its_curve() -> None:
    entries = json.loads(json.dumps(KeySet([SEED]).jwks()))["keys"]
    assert [(e["kty"], e["crv"]) for e in entries] == [("OKP", "Ed25519")]


def _verifies(jwk: dict[str, str], signature: bytes) -> bool:
    public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(jwk["x"] + "="))
    try:
        public.verify(signature, signed_bytes(MESSAGE, TIMESTAMP, BODY))
    except InvalidSignature:
        return False
    return True
