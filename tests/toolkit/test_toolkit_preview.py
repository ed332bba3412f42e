"""Previews: what they may take and return, and that they have no way to an effect."""

import ast
import asyncio
import enum
import threading
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import orchestrator
from orchestrator import PreviewContext, ToolContext, ToolError, tool
from orchestrator.domain.assessment import CallContext, Ruling
from orchestrator.domain.consent import Actor, Preview
from orchestrator.errors import ConfigError
from orchestrator.toolkit import Executor, preview
from orchestrator.toolkit.declare import record_of
from orchestrator.toolkit.plain import PlainError

pytestmark = pytest.mark.asyncio
CONTEXT = CallContext("call_1", "run_1", "shop", Actor("U9"), Actor("U1"))


def refund(order_id: str, amount: Decimal, ctx: ToolContext) -> str:
    """Refund an order."""
    raise AssertionError("the tool itself was called")


def with_preview(look: Any, **more: Any) -> Any:
    """A tool of its own each time, with that preview."""

    def refund_order(order_id: str, amount: Decimal, ctx: ToolContext) -> str:
        """Refund an order."""
        return refund(order_id, amount, ctx)

    return tool(preview=look, **more)(refund_order)


async def seen(bench: Any, look: Any, **more: Any) -> Preview:
    arguments = {"order_id": "A-17", "amount": "12.50"}
    options = {"executor": more.pop("executor")} if "executor" in more else {}
    given = bench(with_preview(look, **more), **options)
    shown: Preview = await given.toolkit.preview("refund_order", arguments, CONTEXT)
    return shown


async def test_a_preview_takes_what_it_needs_and_no_key(bench: Any) -> None:
    got: dict[str, object] = {}

    def look(amount: Decimal, about: PreviewContext) -> str:
        got.update(amount=amount, about=about, thread=threading.current_thread().name)
        return "less"

    assert await seen(bench, look) == Preview("less")
    assert got == {
        "amount": Decimal("12.50"),
        "about": PreviewContext("run_1", "shop", Actor("U9")),
        "thread": "preview-refund_order",
    }
    assert "call_1" not in repr(got)


async def test_the_name_still_means_the_plain_function_and_the_finding_says_that_it_can_tell(
    bench: Any,
) -> None:
    async def look() -> dict[str, object]:
        return {"b": Decimal("1.50"), "a": 1, "day": date(2026, 1, 2), "none": None}

    made = with_preview(look, preview_required=False)
    assert callable(made)
    finding = bench(made).find({"order_id": "A", "amount": 1})
    assert (finding.ruling, finding.previews, finding.preview_required) == (Ruling.ASK, True, False)
    assert (await seen(bench, look)).text == (
        '{\n  "a": 1,\n  "b": "1.50",\n  "day": "2026-01-02",\n  "none": null\n}'
    )
    assert (await seen(bench, look)) == (await seen(bench, look))


async def test_another_preview_is_another_version_of_the_tool() -> None:
    def one(amount: Decimal) -> str:
        return "1"

    def two(order_id: str) -> str:
        return "2"

    versions = {record_of(t).version for t in (with_preview(None), with_preview(one), with_preview(two))}  # type: ignore[union-attr]
    versions.add(record_of(with_preview(one, preview_required=False)).version)  # type: ignore[union-attr]
    assert len(versions) == 4


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\0b", "a\ufffdb"),
        ({"z": 1, "a": True}, '{\n  "a": true,\n  "z": 1\n}'),
        ({"a": True, "z": 1}, '{\n  "a": true,\n  "z": 1\n}'),
        ({"line": "1\n2"}, '{\n  "line": "1\\n2"\n}'),
        ({Colour.RED: 1.5}, '{\n  "red": 1.5\n}'),
        ("x" * 4000, "x" * 4000),
    ],
    ids=repr,
)
async def test_equal_previews_are_equal_text(value: object, text: str) -> None:
    assert preview.encode(value) == text


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "is a NoneType"),
        (12, "is a int"),
        (["a"], "is a list"),
        ({"a": {"b": 1}}, "a: is nested"),
        ({"a": [1]}, "a: is nested"),
        ({"a": b"1"}, "which JSON cannot hold"),
        ({"a": float("nan")}, "finite"),
        ("", "is empty"),
        ({}, "is empty"),
        ("x" * 4001, "has 4001 characters"),
    ],
    ids=repr,
)
async def test_what_is_neither_text_nor_flat_is_no_preview(bench: Any, value: object, why: str) -> None:
    with pytest.raises(PlainError, match=why):
        preview.encode(value)

    def look() -> object:
        return value

    assert await seen(bench, look) == Preview("", "The preview failed.")


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (ToolError("There is no order A-17."), "There is no order A-17."),
        (ToolError(" "), "The preview failed."),
        (ValueError("postgres://user:secret@host"), "The preview failed."),
        (SystemExit(3), "The preview failed."),
    ],
    ids=repr,
)
async def test_a_preview_that_fails_says_why_only_in_its_own_words(
    bench: Any, error: BaseException, trouble: str
) -> None:
    def look() -> str:
        raise error

    async def look_async() -> str:
        raise error

    assert await seen(bench, look) == await seen(bench, look_async) == Preview("", trouble)


async def test_it_has_a_time_of_its_own(bench: Any) -> None:
    async def look() -> str:
        await asyncio.Event().wait()
        return "never"

    shown = await seen(bench, look, timeout_seconds=600.0, preview_timeout_seconds=0.02)
    assert shown == Preview("", "The preview took longer than 0.02 seconds.")


async def test_a_connection_that_breaks_is_tried_again_whatever_the_tool_allows(
    bench: Any, eager: Executor, waits: list[float]
) -> None:
    tries: list[int] = []

    def look() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionResetError
        return "less"

    assert await seen(bench, look, executor=eager) == Preview("less")
    assert (len(tries), len(waits)) == (3, 2)


async def test_a_tool_without_one_and_one_that_is_gone_cannot_tell(bench: Any) -> None:
    toolkit = bench(with_preview(None)).toolkit
    for name in ("refund_order", "gone"):
        shown = await toolkit.preview(name, {}, CONTEXT)
        assert shown.trouble == "The tool cannot tell any more what it would do."


def strange(other: str) -> str:
    return other


def keyed(ctx: ToolContext) -> str:
    return ctx.call_id


def loose(*args: str) -> str:
    return str(args)


def twice(a: PreviewContext, b: PreviewContext) -> str:
    return f"{a}{b}"


def steps(order_id: str) -> Any:
    yield order_id


@pytest.mark.parametrize(
    ("look", "more", "why"),
    [
        (
            strange,
            {},
            "refund_order: preview: strange, parameter 'other': is no parameter of the tool; these are",
        ),
        (keyed, {}, "keyed, parameter 'ctx': is no parameter"),
        (loose, {}, "loose, parameter 'args': is passed by name"),
        (twice, {}, "twice takes 2 PreviewContexts"),
        (steps, {}, "is neither a plain function nor an async one"),
        ("text", {}, "is neither a plain function nor an async one"),
        (lambda: "x", {"preview_timeout_seconds": 0}, "preview_timeout_seconds: should be above 0"),
        (lambda: "x", {"preview_timeout_seconds": 61}, "preview_timeout_seconds: should be above 0"),
    ],
)
async def test_what_cannot_be_a_preview_is_found_when_the_module_is_loaded(
    look: Any, more: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigError, match="refund_order") as caught:
        with_preview(look, **more)
    assert why in str(caught.value)


def calls_of_previews(root: Path) -> list[str]:
    """Every place that calls a `.foretell`, or hands one on; and every call of a tool from there."""
    found = []
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "foretell":
                found.append(f"{path.relative_to(root).as_posix()}: call")
            value = node.value if isinstance(node, ast.Assign | ast.NamedExpr | ast.Return) else None
            if isinstance(value, ast.Attribute) and value.attr == "foretell":
                found.append(f"{path.relative_to(root).as_posix()}: alias")
            if isinstance(node, ast.ClassDef) and node.name == "_Look":
                reached = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
                found += [
                    f"{path.name}: a preview reaches {a}" for a in ("function", "call_id") if a in reached
                ]
    return found


async def test_previews_are_called_in_exactly_one_place_which_has_no_way_to_the_tool(tmp_path: Path) -> None:
    root = Path(orchestrator.__file__).parent
    assert calls_of_previews(root) == ["toolkit/execute.py: call"]
    (tmp_path / "x.py").write_text(
        "class _Look:\n"
        "    def f(self, tool):\n"
        "        g = tool.preview.foretell\n"
        "        return tool.function(key=self.context.call_id)\n"
    )
    assert len(calls_of_previews(tmp_path)) == 3
