"""Invented arguments are valid, and use what the user wrote."""

import random
from typing import Any

import jsonschema
import pytest

from orchestrator.emulator.gemini.invent import arguments, reference

TEXT = 'Please refund order A-1042 for ada@lovelace.dev by 2026-12-24, reason "arrived late".'
SCHEMAS: list[dict[str, Any]] = [
    {"order_id": {"type": "string", "pattern": "^[A-Z]-[0-9]+$"}},
    {"code": {"type": "string", "pattern": r"^(?:ab|cd)[^a-z]{2}\d{3}[x-z]?.$"}},
    {"amount": {"type": "number", "exclusiveMinimum": 0, "maximum": 0.3}},
    {"amount": {"type": "integer", "minimum": 7, "multipleOf": 5}},
    {"amount": {"type": "integer", "maximum": -4}},
    {"mail": {"type": "string", "format": "email"}, "day": {"type": "string", "format": "date"}},
    {"name": {"type": "string", "minLength": 12}, "short": {"type": "string", "maxLength": 2}},
    {"kind": {"enum": ["full", "partial"]}, "fixed": {"const": 3}, "flag": {"type": "boolean"}},
    {"tags": {"type": "array", "items": {"type": "string"}, "minItems": 3, "uniqueItems": True}},
    {"pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]}},
    {"note": {"anyOf": [{"type": "null"}, {"type": "string"}]}, "maybe": {"type": ["null", "integer"]}},
    {"address": {"$ref": "#/$defs/Address"}},
    {"tree": {"$ref": "#/$defs/Tree"}},
    {
        "both": {
            "allOf": [
                {"$ref": "#/$defs/Address"},
                {"properties": {"x": {"type": "integer"}}, "required": ["x"]},
            ]
        }
    },
    {"anything": {}},
]
DEFS = {
    "Address": {
        "type": "object",
        "properties": {"street": {"type": "string"}, "zip": {"type": "string", "pattern": "^[0-9]{5}$"}},
        "required": ["street", "zip"],
    },
    "Tree": {
        "type": "object",
        "properties": {"left": {"anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}]}},
        "required": ["left"],
    },
}


def schema(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "$defs": DEFS}


def made(properties: dict[str, Any], text: str = TEXT) -> dict[str, Any]:
    return arguments(schema(properties), text, random.Random(1))


@pytest.mark.parametrize("properties", SCHEMAS, ids="-".join)
@pytest.mark.parametrize("text", [TEXT, ""])
def test_what_is_invented_is_valid(properties: dict[str, Any], text: str) -> None:
    value = made(properties, text)
    jsonschema.Draft202012Validator(schema(properties)).validate(value)
    assert set(value) == set(properties)


def test_values_come_from_the_text() -> None:
    value = made(
        {
            "order_id": {"type": "string"},
            "mail": {"type": "string", "format": "email"},
            "due": {"type": "string", "format": "date"},
            "reason": {"type": "string"},
            "action": {"type": "string", "enum": ["cancel", "refund"]},
        }
    )
    assert value == {
        "order_id": "A-1042",
        "mail": "ada@lovelace.dev",
        "due": "2026-12-24",
        "reason": TEXT,
        "action": "refund",
    }


ORDER = 'The shop\'s order number, for example "B-7".'
DECIMAL = 'How much, in EUR, for example all of it. A decimal number as text, for example "12.50".'


@pytest.mark.parametrize(
    ("text", "order", "amount"),
    [
        ("Order A-1042 arrived broken.", "A-1042", "12.50"),
        ("Give 89.90 EUR back for A-1042.", "A-1042", "89.90"),
        ("Give 50 EUR back.", "B-7", "50"),
        ("", "B-7", "12.50"),
    ],
)
def test_an_example_in_a_description_says_what_a_text_looks_like(text: str, order: str, amount: str) -> None:
    told = {
        "order": {"type": "string", "description": ORDER},
        "amount": {"type": "string", "description": DECIMAL},
    }
    assert made(told, text) == {"order": order, "amount": amount}


def test_a_schema_without_demands_is_filled_in_all_the_same() -> None:
    loose = {"type": "object", "properties": {"order_id": {"type": "string"}}}
    assert arguments(loose, "about A-17", random.Random(1)) == {"order_id": "A-17"}
    assert arguments({}, "about A-17", random.Random(1)) == {}


@pytest.mark.parametrize(
    ("text", "found"), [("order A-17 is late", "A-17"), ("see PROJ2-9.", "PROJ2-9"), ("call me at 5", None)]
)
def test_reference(text: str, found: str | None) -> None:
    assert reference(text) == found
