"""Signature and docstring → schema and validator."""

import dataclasses
import enum
import uuid
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired

import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from orchestrator import Secret, ToolContext, tool
from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import Terms
from orchestrator.errors import ConfigError
from orchestrator.toolkit.declare import record_of
from orchestrator.toolkit.plain import MAX_SAFE_INTEGER
from orchestrator.toolkit.registry import Toolkit


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    S = 1
    L = 2


class Item(BaseModel):
    """One line of an order."""

    sku: str
    qty: Annotated[int, Field(ge=1)] = 1
    price: Decimal | None = None


@dataclasses.dataclass
class Place:
    street: str
    number: int = 1


class Options(TypedDict):
    gift: bool
    note: NotRequired[str]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    title: str


class Tree(BaseModel):
    children: "list[Tree]" = []


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]
TEXT = {"type": "string"}
DECIMAL = {"type": "string", "description": 'A decimal number as text, for example "12.50".'}
PRICE = {**DECIMAL}
ITEM = {
    "type": "object",
    "description": "One line of an order.",
    "properties": {"sku": TEXT, "qty": {"type": "integer", "minimum": 1, "default": 1}, "price": PRICE},
    "required": ["sku"],
}


def declared(annotation: Any, **settings: Any) -> Any:
    """A tool with the one parameter `x` of that type."""

    def probe(x):  # type: ignore[no-untyped-def]
        """Probe."""
        return x

    probe.__annotations__ = {"x": annotation}
    return tool(approval="allow", **settings)(probe)


def schema_of(annotation: Any) -> Any:
    record = record_of(declared(annotation))
    assert record is not None
    return record.signature.schema["properties"]["x"]


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (str, TEXT),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (Decimal, DECIMAL),
        (
            Annotated[Decimal, Field(gt=0, le=500)],
            {**DECIMAL, "description": DECIMAL["description"] + " It is greater than 0 and at most 500."},
        ),
        (date, {"type": "string", "format": "date"}),
        (datetime, {"type": "string", "format": "date-time"}),
        (time, {"type": "string", "format": "time"}),
        (timedelta, {"type": "string", "description": 'An ISO 8601 duration, for example "PT30M".'}),
        (uuid.UUID, {"type": "string", "description": "A UUID."}),
        (Colour, {"type": "string", "enum": ["red", "blue"]}),
        (Size, {"type": "integer", "enum": [1, 2]}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal["a"], {"type": "string", "enum": ["a"]}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (int | str, {"anyOf": [{"type": "integer"}, TEXT]}),
        (list[str], {"type": "array", "items": TEXT}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (dict[str, Any], {"type": "object"}),
        (set[int], {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}),
        (
            tuple[int, str],
            {"type": "array", "prefixItems": [{"type": "integer"}, TEXT], "minItems": 2, "maxItems": 2},
        ),
        (
            Annotated[int, Field(ge=1, description="How many.")],
            {"type": "integer", "minimum": 1, "description": "How many."},
        ),
        (Item, ITEM),
        (list[Item], {"type": "array", "items": ITEM}),
        (
            Place,
            {
                "type": "object",
                "properties": {"street": TEXT, "number": {"type": "integer", "default": 1}},
                "required": ["street"],
            },
        ),
        (
            Options,
            {
                "type": "object",
                "properties": {"gift": {"type": "boolean"}, "note": TEXT},
                "required": ["gift"],
            },
        ),
        (
            Pet,
            {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {
                            "kind": {"type": "string", "enum": ["cat"]},
                            "lives": {"type": "integer"},
                        },
                        "required": ["kind", "lives"],
                    },
                    {
                        "type": "object",
                        # a field that is called `title` is no title
                        "properties": {"kind": {"type": "string", "enum": ["dog"]}, "title": TEXT},
                        "required": ["kind", "title"],
                    },
                ]
            },
        ),
    ],
    ids=str,
)
def test_a_type_becomes_the_schema_gemini_takes(annotation: Any, expected: Any) -> None:
    assert schema_of(annotation) == expected


def test_the_declaration_holds_the_docstring_and_hides_the_context() -> None:
    @tool
    def refund(
        order: str, ctx: ToolContext, item: Item | None = None, amount: Decimal = Decimal("1.50")
    ) -> str:
        """Refund an order.

        Only once, and
        never twice.

        Args:
            order: The shop's number, for
                example "A-17".
            ctx: Ours.
            item: One line, or all.
            amount: How much.

        Returns:
            What happened.
        """
        return order

    record = record_of(refund)
    assert record is not None
    assert record.declaration() == {
        "type": "function",
        "name": "refund",
        "description": "Refund an order.\n\nOnly once, and\nnever twice.",
        "parameters": {
            "type": "object",
            "properties": {
                "order": {"type": "string", "description": 'The shop\'s number, for example "A-17".'},
                "item": {**ITEM, "description": "One line, or all."},
                "amount": {
                    "type": "string",
                    "description": f"How much. {DECIMAL['description']}",
                    "default": "1.50",
                },
            },
            "required": ["order"],
        },
    }
    assert record.summary == "Refund an order."


def test_what_is_empty_is_left_out() -> None:
    @tool
    def optional(x: int = 1) -> None:
        """Do it."""

    @tool
    def bare() -> None:
        """Do it."""

    first, second = record_of(optional), record_of(bare)
    assert first is not None
    assert second is not None
    assert "required" not in first.declaration()["parameters"]
    assert "parameters" not in second.declaration()


def unannotated(x):  # type: ignore[no-untyped-def]
    """Do it."""


def starred(*values: int) -> None:
    """Do it."""


def keywords(**values: int) -> None:
    """Do it."""


def positional(x: int, /) -> None:
    """Do it."""


def undocumented(x: int) -> None:
    pass


def misdocumented(x: int) -> None:
    """Do it.

    Args:
        y: Gone.
    """


def two_contexts(a: ToolContext, b: ToolContext) -> None:
    """Do it."""


def recursive(tree: Tree) -> None:
    """Do it."""


def foreign(x: "NoSuchType") -> None:  # type: ignore[name-defined]  # noqa: F821
    """Do it."""


def anything(x: Any) -> None:
    """Do it."""


def untyped_list(x: list) -> None:  # type: ignore[type-arg]
    """Do it."""


def secret(x: pydantic.SecretStr) -> None:
    """Do it."""


def raw_bytes(x: bytes) -> None:
    """Do it."""


def custom_class(x: HealthCheck | ConfigError) -> None:
    """Do it."""


def wrong_default(x: int = "1") -> None:  # type: ignore[assignment]
    """Do it."""


def hidden_none(x: int = None) -> None:  # type: ignore[assignment]  # noqa: RUF013
    """Do it."""


def field_default(x: int = Field(ge=1)) -> None:
    """Do it."""


def generator(x: int) -> Any:
    """Do it."""
    yield x


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (unannotated, ["parameter 'x'", "annotation is missing"]),
        (starred, ["parameter 'values'", "variadic positional"]),
        (keywords, ["parameter 'values'", "variadic keyword"]),
        (positional, ["parameter 'x'", "positional-only"]),
        (undocumented, ["docstring is missing"]),
        (misdocumented, ["'y'", "no parameter"]),
        (two_contexts, ["more than one ToolContext"]),
        (recursive, ["parameter 'tree'", "contains itself"]),
        (foreign, ["annotation cannot be read", "NoSuchType"]),
        (anything, ["parameter 'x'", "may be anything"]),
        (untyped_list, ["parameter 'x'", "what it holds"]),
        (secret, ["parameter 'x'", "secrets"]),
        (raw_bytes, ["parameter 'x'", "bytes"]),
        (custom_class, ["parameter 'x'", "cannot be validated"]),
        (wrong_default, ["parameter 'x'", "default '1' does not fit"]),
        (hidden_none, ["parameter 'x'", "default None does not fit"]),
        (field_default, ["parameter 'x'", "Annotated"]),
        (generator, ["does not yield"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_unusable_signature_names_module_function_and_parameter(function: Any, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        tool(function)
    for word in [f"{function.__module__}.{function.__qualname__}", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "given_", "normalised"),
    [
        (int, 12, 12),
        (int, 12.0, 12),
        (int, MAX_SAFE_INTEGER, MAX_SAFE_INTEGER),
        (int, -0.0, 0),
        (float, 1, 1.0),
        (float, 1e300, 1e300),
        (bool, True, True),
        (Decimal, "12.50", "12.50"),
        (Decimal, 12.5, "12.5"),
        (Decimal, 12, "12"),
        (Decimal, "1E+3", "1000"),
        (date, "2026-02-28", "2026-02-28"),
        (datetime, "2026-02-28T10:00:00Z", "2026-02-28T10:00:00+00:00"),
        (time, "10:00", "10:00:00"),
        (timedelta, "PT90M", "PT1H30M"),
        (uuid.UUID, "12345678-1234-5678-1234-567812345678", "12345678-1234-5678-1234-567812345678"),
        (Colour, "red", "red"),
        (Size, 2, 2),
        (Literal[1, "a"], 1, 1),
        (int | None, None, None),
        (set[str], ["b", "a", "b"], ["a", "b"]),
        (tuple[int, str], [1, "a"], [1, "a"]),
        (dict[int, str], {"1": "a"}, {"1": "a"}),
        (dict[str, Any], {"a": [1.0, {"b": None}]}, {"a": [1, {"b": None}]}),
        (Item, {"sku": "s", "price": 2.5}, {"sku": "s", "qty": 1, "price": "2.5"}),
        (Place, {"street": "s"}, {"street": "s", "number": 1}),
        (Options, {"gift": True}, {"gift": True}),
        (Pet, {"kind": "dog", "title": "Sir"}, {"kind": "dog", "title": "Sir"}),
    ],
    ids=str,
)
def test_arguments_become_plain_json_in_the_schemas_types(
    bench: Any, annotation: Any, given_: Any, normalised: Any
) -> None:
    finding = bench(declared(annotation)).find({"x": given_})
    assert (finding.ruling, finding.reason) == (Ruling.ALLOW, "")
    assert finding.arguments == {"x": normalised}
    assert type(finding.arguments["x"]) is type(normalised)


@pytest.mark.parametrize(
    ("annotation", "given_", "line"),
    [
        (int, "12", "x: should be a valid integer"),
        (int, True, "x: should be a valid integer"),
        (int, 1.5, "x: should be a valid integer"),
        (int, None, "x: should be a valid integer"),
        (int, MAX_SAFE_INTEGER + 1, "x: is an integer beyond"),
        (int, 1e300, "x: should be a valid integer"),
        (float, float("nan"), "x: should be a finite number"),
        (float, float("-inf"), "x: should be a finite number"),
        (float, "1.5", "x: should be a valid number"),
        (bool, "true", "x: should be a valid boolean"),
        (bool, 1, "x: should be a valid boolean"),
        (str, 1, "x: should be a valid string"),
        (str, "a\0b", "x: holds a NUL"),
        (str, "\ud800", "x: holds a NUL or half a surrogate pair"),
        (Decimal, True, "x: should be a decimal number"),
        (Decimal, "NaN", "x: should be a finite number"),
        (Decimal, "1e1000000", "x: has more than 40 digits"),
        (Decimal, "9" * 41, "x: has more than 40 digits"),
        (date, "1735689600", "x: should be an ISO 8601 date"),
        (datetime, "1735689600", "x: should be an ISO 8601 date"),
        (datetime, 1735689600, "x: should be a valid datetime"),
        (Colour, "green", "x: should be 'red' or 'blue'"),
        (Size, True, "x: should not be a boolean"),
        (Literal[1], True, "x: should not be a boolean"),
        (int | str, [], "x: should be a valid integer, or should be a valid string"),
        (tuple[int, str], [1], "x.1: is required"),
        (list[int], [1, "2"], "x.1: should be a valid integer"),
        (Item, {"sku": "s", "colour": 1}, "x.colour: is not a field here"),
        (Item, {"qty": 0}, "x.qty: should be greater than or equal to 1"),
        (Item, {"qty": 0}, "x.sku: is required"),
        (Item, [], "x: should be an object"),
        (Place, {"street": "s", "z": 1}, "x.z: is not a field here"),
        (Options, {"gift": 1}, "x.gift: should be a valid boolean"),
        (dict[str, int], {"\udfff": 1}, "x: holds a NUL or half"),
        (bytes | str, b"a", "x: is not JSON"),
    ],
    ids=str,
)
def test_arguments_that_do_not_fit_name_field_and_expectation(
    bench: Any, annotation: Any, given_: Any, line: str
) -> None:
    if annotation == bytes | str:
        annotation = str
    finding = bench(declared(annotation)).find({"x": given_})
    assert finding.ruling is Ruling.INVALID
    assert finding.arguments == {}
    assert f"- {line}" in finding.reason
    for inside in ("pydantic", "http", "Traceback", "Error", "input_value"):
        assert inside not in finding.reason


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (None, "arguments: should be a JSON object"),
        ([1], "arguments: should be a JSON object"),
        ("{}", "arguments: should be a JSON object"),
        ({}, "x: is required"),
        ({"x": "a", "y": 1}, "y: is not a parameter; the parameters are x"),
        ({1: "a"}, "arguments: has a key that is not text"),
    ],
    ids=str,
)
def test_the_whole_of_the_arguments_is_checked(bench: Any, arguments: Any, line: str) -> None:
    finding = bench(declared(str)).find(arguments)
    assert f"- {line}" in finding.reason
    assert finding.problems == (tuple(line.split(": ")),)


def test_of_many_misfits_the_first_ones_are_named(bench: Any) -> None:
    finding = bench(declared(str)).find({f"y{n}": 1 for n in range(1000)})
    assert [path for path, _ in finding.problems] == [f"y{n}" for n in range(10)]
    assert finding.reason.endswith("\n- and 991 more")


@pytest.mark.parametrize(("extra", "ruling"), [(-1, Ruling.ALLOW), (0, Ruling.ALLOW), (1, Ruling.INVALID)])
def test_the_size_limit_is_64_kib(bench: Any, extra: int, ruling: Ruling) -> None:
    frame = len('{"x":""}')
    finding = bench(declared(str)).find({"x": "a" * (64 * 1024 - frame + extra)})
    assert finding.ruling is ruling
    assert finding.reason in ("", "The arguments do not fit:\n- arguments: are larger than 64 KiB")


@pytest.mark.parametrize(
    ("levels", "ruling"),
    [(30, Ruling.ALLOW), (31, Ruling.ALLOW), (32, Ruling.INVALID), (5000, Ruling.INVALID)],
)
def test_the_depth_limit_is_32_levels(bench: Any, levels: int, ruling: Ruling) -> None:
    value: Any = 1
    for _ in range(levels - 1):
        value = [value]
    finding = bench(declared(dict[str, Any])).find({"x": {"a": value}} if levels < 5000 else {"x": value})
    assert finding.ruling is ruling
    assert ("deeper than 32 levels" in finding.reason) is (ruling is Ruling.INVALID)


def test_what_the_model_wrote_cannot_flood_or_break_the_answer(bench: Any) -> None:
    hostile = {f"k{i}\n- x: ok\u202e" + "z" * 500: 1 for i in range(40)}
    reason = bench(declared(int)).find({"x": 1, **hostile}).reason
    assert len(reason) < 4000
    assert reason.count("\n") == 11
    assert reason.endswith("- and 30 more")
    assert "\u202e" not in reason


def test_a_validator_of_the_users_own_may_do_anything(bench: Any) -> None:
    class Odd(BaseModel):
        n: int

        @pydantic.field_validator("n")
        @classmethod
        def check(cls, value: int) -> int:
            if value == 1:
                raise ValueError("must not be one")
            if value == 2:
                raise RuntimeError("postgres://secret@host")
            return value + 1  # never the same twice

    probe = bench(declared(Odd))
    assert probe.find({"x": {"n": 1}}).reason.endswith("- x.n: must not be one")
    assert probe.find({"x": {"n": 2}}).reason.endswith("- x: could not be checked")
    assert "stays the same" in probe.find({"x": {"n": 3}}).reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
EVERYTHING = int | float | bool | Decimal | date | Item | list[Item | str] | dict[str, Any] | None


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arguments=JSON, name=st.text(max_size=5))
def test_no_json_makes_find_raise(bench: Any, arguments: Any, name: str) -> None:
    probe = bench(declared(EVERYTHING))
    for whole in (arguments, {"x": arguments}):
        finding = probe.find(whole)
        assert finding.ruling in (Ruling.ALLOW, Ruling.INVALID)
        assert (finding.ruling is Ruling.INVALID) is bool(finding.reason)
        finding.reason.encode()
    assert probe.find(arguments, name=name or "?").ruling in (Ruling.UNKNOWN, Ruling.ALLOW, Ruling.INVALID)


VALID = st.fixed_dictionaries(
    {
        "text": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
        "count": st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
        | st.integers(-(2**53) + 1, 2**53 - 1).map(float),
        "share": st.floats(allow_nan=False, allow_infinity=False),
        "amount": st.decimals(-(10**9), 10**9, allow_nan=False, places=3).map(str) | st.integers(-999, 999),
        "day": st.dates().map(str),
        "at": st.datetimes(timezones=st.just(__import__("datetime").UTC)).map(lambda d: d.isoformat()),
        "colour": st.sampled_from(["red", "blue"]),
        "tags": st.lists(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=4)),
        "either": st.integers(0, 9) | st.just("x") | st.none(),
        "items": st.lists(
            st.fixed_dictionaries({"sku": st.just("s")}, optional={"price": st.integers(0, 9)}), max_size=3
        ),
    },
    optional={"wait": st.timedeltas(min_value=timedelta(0)).map(lambda d: f"PT{d.seconds}S")},
)


@tool(approval="allow")
def everything(
    text: str,
    count: int,
    share: float,
    amount: Decimal,
    day: date,
    at: datetime,
    colour: Colour,
    tags: set[str],
    either: int | str | None,
    items: list[Item],
    wait: timedelta = timedelta(minutes=5),
) -> None:
    """Take everything."""


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arguments=VALID)
def test_what_was_normalised_normalises_to_itself(bench: Any, arguments: Any) -> None:
    probe = bench(everything)
    once = probe.find(arguments)
    assert once.reason == ""
    assert probe.find(once.arguments) == once
    assert list(once.arguments) == [p.name for p in probe.toolkit.tools[0].signature.parameters]


def test_a_secret_parameter_is_told_to_the_model_like_any_other() -> None:
    assert schema_of(Annotated[str, Secret()]) == schema_of(Annotated[str, Secret]) == TEXT
    both = record_of(declared(Annotated[str, Field(max_length=40), Secret()]))
    assert both is not None
    assert both.signature.secret == ("x",)
    toolkit = Toolkit([both], defaults=Terms(("U0ALICE",)), overrides={"probe": {"approval": "ask"}})
    assert toolkit.gate("probe").terms.hidden == ("x",)


@pytest.mark.parametrize("annotation", [list[Annotated[str, Secret()]], Annotated[str, Secret()] | None])
def test_a_part_of_a_parameter_cannot_be_secret(annotation: Any) -> None:
    with pytest.raises(ConfigError, match="marks a whole parameter"):
        declared(annotation)
