"""Loading modules, versions, reports, and the worked modules beside the package."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import Terms
from orchestrator.domain.model import OutcomeKind
from orchestrator.errors import ConfigError
from orchestrator.toolkit import Toolkit, load_modules
from orchestrator.toolkit.report import check_tools, list_tools, schema_of

SOURCE = '''
from orchestrator import tool
{extra}
@tool(approval="allow")
def {name}(x: int = 1) -> int:
    """Do {name}."""
    return x
'''
Write = Callable[..., Path]
WORKED = Path(__file__).parents[2] / "tools"
DEFAULTS = Terms(("U1",))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a module with one tool into the folder, or the given text."""

    def module(name: str, text: str = "", extra: str = "", mode: int = 0o644) -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(text or SOURCE.format(name=name, extra=extra), encoding="utf-8")
        path.chmod(mode)
        return path

    return module


def test_listed_modules_are_loaded_in_order_and_logged(tmp_path: Path, write: Write) -> None:
    write("beta")
    write("alpha")
    write("unlisted", "raise SystemExit")
    before = list(sys.path)
    with structlog.testing.capture_logs() as lines:
        tools = load_modules(tmp_path, ["beta", "alpha"])
    assert [(t.name, t.module) for t in tools] == [
        ("beta", "orchestrator_tools.beta"),
        ("alpha", "orchestrator_tools.alpha"),
    ]
    assert sys.path == before
    assert "alpha" not in sys.modules
    assert [len(line["sha256"]) for line in lines if line["event"] == "tool_module_loaded"] == [64, 64]


def test_a_module_may_use_those_listed_before_it_and_no_others(tmp_path: Path, write: Write) -> None:
    write("base")
    write("late", extra="from .base import base as other\nfrom . import base as module")
    assert [t.name for t in load_modules(tmp_path, ["base", "late"])] == ["base", "late"]
    write("hidden")
    write("greedy", extra="from .hidden import hidden")
    with pytest.raises(ConfigError, match=r"'greedy'.*line 3.*ModuleNotFoundError"):
        load_modules(tmp_path, ["base", "greedy"])


@pytest.mark.parametrize("name", ["../x", "a.b", "a/b", "/etc/x", "", "a-b", "x.py", "os path", "naïve"])
def test_a_name_is_no_path(tmp_path: Path, write: Write, name: str) -> None:
    write("a")
    with pytest.raises(ConfigError, match="plain module name"):
        load_modules(tmp_path, [name])


def test_a_module_is_found_below_the_folder_or_not_at_all(tmp_path: Path, write: Write) -> None:
    folder = tmp_path / "tools"
    folder.mkdir()
    outside = write("outside")
    (folder / "linked.py").symlink_to(outside)
    (folder / "package").mkdir()
    for name, words in [("linked", "leads out"), ("package", "no file"), ("missing", "no file")]:
        with pytest.raises(ConfigError, match=f"tools.modules: .*{words}"):
            load_modules(folder, [name])
    with pytest.raises(ConfigError, match=r"tools.folder: .* is not a folder"):
        load_modules(outside, ["x"])


def test_links_inside_the_folder_are_fine(tmp_path: Path, write: Write) -> None:
    """Mounted configuration looks like this: a file is a link into a dated folder beside it."""
    (tmp_path / "2026").mkdir()
    write("real").rename(tmp_path / "2026" / "real.py")
    (tmp_path / "real.py").symlink_to("2026/real.py")
    assert [t.name for t in load_modules(tmp_path, ["real"])] == ["real"]


@pytest.mark.skipif(os.name != "posix", reason="file modes")
@pytest.mark.parametrize(
    ("mode", "fine"), [(0o644, True), (0o600, True), (0o664, True), (0o646, False)], ids=oct
)
def test_a_module_others_can_change_is_refused(tmp_path: Path, write: Write, mode: int, fine: bool) -> None:
    write("mine", mode=mode)
    if fine:
        assert load_modules(tmp_path, ["mine"])
        return
    with pytest.raises(ConfigError, match=r"'mine'.*chmod o-w"):
        load_modules(tmp_path, ["mine"])


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_folder_anyone_can_write_to_is_refused(tmp_path: Path, write: Write) -> None:
    write("mine")
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="chmod o-w"):
        load_modules(tmp_path, ["mine"])


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_folder_below_that_a_link_leads_to_is_looked_at_too(tmp_path: Path, write: Write) -> None:
    """Whoever may write there may put another file in the place of ours."""
    below = tmp_path / "2026" / "nov"
    below.mkdir(parents=True)
    write("mine").rename(below / "mine.py")
    (tmp_path / "mine.py").symlink_to("2026/nov/mine.py")
    assert load_modules(tmp_path, ["mine"])
    for folder in (below, below.parent):
        folder.chmod(0o757)
        with pytest.raises(ConfigError, match=rf"'mine'.*chmod o-w {folder}$"):
            load_modules(tmp_path, ["mine"])
        folder.chmod(0o755)


def test_what_cannot_be_looked_at_is_the_configs_fault(tmp_path: Path, write: Write) -> None:
    (tmp_path / "circle.py").symlink_to(tmp_path / "circle.py")
    for name in ("x" * 300, "circle"):
        with pytest.raises(ConfigError, match=rf"tools.modules: '{name}': "):
            load_modules(tmp_path, [name])
    with pytest.raises(ConfigError, match=r"tools.folder: .*: cannot be read: "):
        load_modules(tmp_path / ("x" * 300), ["mine"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\n\nimport nosuch_module\n", ["line 3", "ModuleNotFoundError", "nosuch_module"]),
        ("x = 1\nx = = 2\n", ["line 2", "SyntaxError"]),
        ("def f():\n    1 / 0\nf()\n", ["line 2", "ZeroDivisionError: division by zero"]),
        ("import sys\nsys.exit(3)\n", ["line 2", "SystemExit: 3"]),
        ("x = 1\n", ["declares no tool"]),
        (
            "from orchestrator import tool\n@tool\ndef f(x):\n    'Do.'\n",
            ["line 2", "orchestrator_tools.broken.f", "'x'"],
        ),
        (
            "from orchestrator import tool\n@tool(retry='transient')\ndef f():\n    'Do.'\n",
            ["idempotent=True"],
        ),
        ("# coding: nosuch\n", ["SyntaxError"]),
    ],
    ids=lambda v: "" if isinstance(v, list) else v[:20],
)
def test_a_module_that_fails_names_file_line_and_reason(
    tmp_path: Path, write: Write, text: str, words: list[str]
) -> None:
    write("broken", text)
    with pytest.raises(ConfigError) as caught:
        load_modules(tmp_path, ["broken"])
    for word in ["'broken'", *words]:
        assert word in str(caught.value)
    assert "orchestrator_tools.broken" not in sys.modules


def test_a_decorator_above_tool_is_refused_for_it_would_not_run(tmp_path: Path, write: Write) -> None:
    """A guard that somebody put there would be passed by in silence."""
    guard = (
        "import functools\nfrom orchestrator import tool\n"
        "def guarded(f):\n    @functools.wraps(f)\n    def inner(*a, **k): raise RuntimeError\n"
        "    return inner\n"
    )
    body = 'def pay(x: int) -> int:\n    """Pay."""\n    return x\n'
    write("above", f"{guard}@guarded\n@tool\n{body}")
    with pytest.raises(
        ConfigError, match=r"tool 'pay': another decorator stands above @tool .* put @tool on top"
    ):
        load_modules(tmp_path, ["above"])
    write("below", f"{guard}@tool\n@guarded\n{body}")
    (tool,) = load_modules(tmp_path, ["below"])
    with pytest.raises(RuntimeError):
        tool.function(1)


def test_a_module_is_listed_once_and_its_names_are_its_own(tmp_path: Path, write: Write) -> None:
    write("one")
    with pytest.raises(ConfigError, match="listed twice"):
        load_modules(tmp_path, ["one", "one"])
    write("two", SOURCE.format(name="one", extra=""))
    with pytest.raises(ConfigError, match=r"'one' is declared twice.*tools\.one.*tools\.two"):
        Toolkit(load_modules(tmp_path, ["one", "two"]))


def test_a_tool_imported_from_a_sibling_is_not_declared_again(tmp_path: Path, write: Write) -> None:
    write("one")
    write("two", "from .one import one\n")
    with pytest.raises(ConfigError, match=r"'two'.*declares no tool"):
        load_modules(tmp_path, ["one", "two"])


def test_a_tools_version_follows_its_code_its_helpers_and_its_schema(tmp_path: Path, write: Write) -> None:
    def version(text: str) -> str:
        write("mine", text)
        return load_modules(tmp_path, ["mine"])[0].version

    base = SOURCE.format(name="mine", extra="RATE = 1")
    assert version(base) == version(base)
    changed = [
        base.replace("return x", "return x + 1"),
        base.replace("RATE = 1", "RATE = 2"),
        base.replace("x: int", "x: float"),
    ]
    assert len({version(base), *map(version, changed)}) == 4


# Reports


def test_the_check_names_every_broken_module(tmp_path: Path, write: Write) -> None:
    write("fine")
    write("bad", "import nosuch\n")
    write("worse", "x = = 1\n")
    report = check_tools(tmp_path, ["bad", "fine", "worse", "gone"])
    assert not report.ok
    assert [
        word in problem for word, problem in zip(["bad", "worse", "gone"], report.problems, strict=True)
    ] == [True] * 3


def test_the_check_names_what_the_config_has_wrong(tmp_path: Path, write: Write) -> None:
    write("fine")
    report = check_tools(tmp_path, ["fine"], overrides={"fine": {"approval": "ask"}})
    assert (report.ok, report.tools) == (False, ())
    assert "nobody" in report.problems[0]
    assert check_tools(tmp_path, ["fine"]).ok


# The worked modules


@pytest.fixture
def worked(bench: Any) -> Any:
    return bench(*load_modules(WORKED, ["orders", "meetings", "notes"]), defaults=DEFAULTS)


def test_the_report_tells_the_rules_in_words(worked: Any) -> None:
    reports = {r.name: r for r in list_tools(worked.toolkit)}
    outside = "args.attendees.exists(a, !a.email.endsWith('@example.com'))"
    assert {name: r.approval for name, r in reports.items()} == {
        "lookup_order": "runs without asking",
        "refund_order": "asks a person",
        "free_rooms": "runs without asking",
        "book_meeting": f"asks a person when `{outside}`, otherwise runs",
        "read_note": "runs without asking",
        "write_note": "asks a person when `args.replace`, otherwise runs",
    }
    refund = reports["refund_order"]
    assert (refund.module, refund.idempotent, refund.timeout_seconds, refund.approvers) == (
        "orders",
        False,
        10.0,
        ("U1",),
    )
    assert reports["lookup_order"].approvers == ()
    assert schema_of(worked.toolkit, "refund_order") == refund.schema
    json.dumps(refund.schema)


@pytest.mark.asyncio
async def test_orders_are_looked_up_and_refunded(
    worked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    monkeypatch.setenv("ORDERS_LEDGER", str(ledger))
    found = await worked.run({"order_id": "A-17"}, name="lookup_order")
    assert found.result == {
        "order_id": "A-17",
        "status": "in transit",
        "late": True,
        "total": "12.50",
        "currency": "EUR",
    }
    assert (await worked.run({"order_id": "A-1042"}, name="lookup_order")).kind is OutcomeKind.SUCCEEDED
    assert worked.find({"order_id": "A-17", "amount": 12.5}, name="refund_order").ruling is Ruling.ASK
    refund = await worked.run({"order_id": "A-17", "amount": "12.50", "reason": "late"}, name="refund_order")
    expected = {
        "refund_id": "R-call_1",
        "order_id": "A-17",
        "amount": "12.50",
        "currency": "EUR",
        "reason": "late",
    }
    assert refund.result == expected
    assert [json.loads(line) for line in ledger.read_text().splitlines()] == [{"key": "call_1", **expected}]
    for arguments in (
        {"order_id": "A-17", "amount": "12.51"},
        {"order_id": "B-1", "amount": 1},
        {"order_id": "A-17", "amount": 0},
    ):
        assert (await worked.run(arguments, name="refund_order")).kind is OutcomeKind.FAILED
    assert len(ledger.read_text().splitlines()) == 1


@pytest.mark.asyncio
async def test_meetings_are_booked_once(worked: Any) -> None:
    meeting = {
        "title": "Plans",
        "room": "attic",
        "start": "2026-12-01T10:00:00+01:00",
        "attendees": [{"email": "ann@example.com"}],
    }
    assert worked.find(meeting, name="book_meeting").ruling is Ruling.ALLOW
    guest = {
        **meeting,
        "attendees": [*meeting["attendees"], {"email": "eve@elsewhere.org", "optional": True}],
    }
    assert worked.find(guest, name="book_meeting").ruling is Ruling.ASK
    assert (
        worked.find({**meeting, "start": "2026-12-01T10:00:00"}, name="book_meeting").ruling is Ruling.INVALID
    )
    first = await worked.run(meeting, name="book_meeting")
    again = await worked.run(meeting, name="book_meeting")
    assert first == again
    assert first.result["end"] == "2026-12-01T10:00:00+00:00"
    free = await worked.run({"start": "2026-12-01T09:30:00Z", "minutes": 30}, name="free_rooms")
    assert free.result == {"result": ["garden", "studio"]}


@pytest.mark.asyncio
async def test_notes_stay_in_their_folder(
    worked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "notes"
    monkeypatch.setenv("NOTES_FOLDER", str(folder))
    note = {"name": "plan", "text": "one"}
    assert worked.find(note, name="write_note").ruling is Ruling.ALLOW
    assert worked.find({**note, "replace": True}, name="write_note").ruling is Ruling.ASK
    assert (await worked.run(note, name="write_note")).kind is OutcomeKind.SUCCEEDED
    assert (await worked.run(note, name="write_note")).result == "A note 'plan' exists already."
    assert (
        await worked.run({**note, "text": "two", "replace": True}, name="write_note")
    ).kind is OutcomeKind.SUCCEEDED
    assert (await worked.run({"name": "plan"}, name="read_note")).result == "two"
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    assert (await worked.run({"name": "link"}, name="read_note")).result == "A note's name is no path."
    for name in ("../secret", "/etc/passwd", "..", "a/b"):
        assert worked.find({"name": name}, name="read_note").ruling is Ruling.INVALID
