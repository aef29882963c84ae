"""Progress: silent in Python, bars on a terminal, plain lines on a pipe; standard output stays free for results."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from consilience.progress import Bars, Progress, Silent


@pytest.mark.parametrize("progress", [Silent(), Bars()])
def test_bars_can_be_advanced_and_standard_output_stays_free(progress: Progress, capsys: pytest.CaptureFixture[str]) -> None:
    progress.say("a line")
    with progress.bar("work", 3) as advance:
        for note in ("", "loss 0.5", "[not markup]"):
            advance(1, note)
    assert capsys.readouterr().out == ""


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    Silent().say("a line")
    with Silent().bar("work", 3) as advance:
        advance(1, "note")
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_on_a_pipe_only_lines_are_shown_whole_and_without_colours(capsys: pytest.CaptureFixture[str]) -> None:
    bars = Bars()
    line = "parts: [red]train[/red] 100, " + "a long line is not broken " * 10
    bars.say(line)
    with bars.bar("work", 2) as advance:
        advance(2, "note")
    assert capsys.readouterr().err == line + "\n"


def test_on_a_terminal_the_bar_shows_how_far_it_is() -> None:
    bars = Bars()
    text = io.StringIO()
    bars.console = Console(file=text, force_terminal=True, width=100, color_system=None)
    with bars.bar("encoding", 4) as advance:
        advance(1, "")
        advance(2, "loss 0.5")
    shown = text.getvalue()
    assert "encoding" in shown
    assert "3/4" in shown
    assert "loss 0.5" in shown


@pytest.mark.parametrize("progress", [Silent(), Bars()])
def test_an_error_inside_a_bar_comes_through(progress: Progress) -> None:
    with pytest.raises(KeyError), progress.bar("work", 3):
        raise KeyError("mine")
