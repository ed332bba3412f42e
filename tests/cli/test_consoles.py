"""Tables in a pipe: nothing in them is broken over two lines."""

import pytest

from orchestrator.cli.consoles import show_table

LONG = ["apr_" + "a" * 60, "run_" + "b" * 60, "what happened, in so many words as it takes to say it"]


def test_a_pipe_gets_each_row_on_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    show_table(("approval", "run", "what"), [LONG], whole=0, more=False)
    [row] = [line for line in capsys.readouterr().out.splitlines() if "apr_" in line]
    assert all(cell in row for cell in LONG)


def test_whoever_sets_the_width_gets_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show_table(("approval", "run", "what"), [LONG], whole=0, more=False)
    assert all(len(line) <= 80 for line in capsys.readouterr().out.splitlines())
