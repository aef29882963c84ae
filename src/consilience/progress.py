"""What is slow is shown: one small interface for progress bars, silent in Python, drawn with rich on the command line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from threading import Event
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from consilience.checkpoint import Checkpoints

Advance = Callable[[int, str], None]
"""(steps done since the last call, a short note to show beside the bar)"""


class Progress(Protocol):
    """Where long work reports to."""

    def say(self, text: str) -> None:
        """Show a line that stays."""
        ...

    def bar(self, label: str, total: int) -> AbstractContextManager[Advance]:
        """A bar with rate and time left while the context is open."""
        ...


class Silent:
    """Shows nothing: the default in Python."""

    def say(self, text: str) -> None:
        del text

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Advance]:
        del label, total
        yield lambda steps, note: None


class Bars:
    """Lines and bars on the terminal, through rich; on a pipe only the lines, on standard error either way."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True)

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Advance]:
        from rich import progress as rich

        columns = [rich.TextColumn("{task.description}"), rich.BarColumn(), rich.MofNCompleteColumn()]
        columns += [rich.TextColumn("{task.fields[rate]}"), rich.TimeRemainingColumn(), rich.TextColumn("{task.fields[note]}")]
        hidden = not self.console.is_terminal
        with rich.Progress(*columns, console=self.console, transient=True, disable=hidden) as bars:
            task = bars.add_task(label, total=total, note="", rate="")

            def advance(steps: int, note: str) -> None:
                speed = bars.tasks[0].speed
                bars.update(task, advance=steps, note=note, rate=f"{speed:.3g}/s" if speed else "")

            yield advance


LONG = 10.0
"""Seconds from which on work is announced with what it will cost."""


@contextmanager
def encoding(progress: Progress, label: str, total: int) -> Iterator[Advance]:
    """A bar for cells that are encoded; after the first of them it is said how long the rest will take, where that is long."""
    started, done = time.perf_counter(), 0
    with progress.bar(label, total) if total else Silent().bar(label, total) as inner:

        def advance(steps: int, note: str) -> None:
            nonlocal done
            inner(steps, note)
            if not done and (rest := (time.perf_counter() - started) / steps * (total - steps)) > LONG:
                progress.say(f"  {label}: {total} cells, about {duration(rest)}")
            done += steps

        yield advance


def duration(seconds: float) -> str:
    """How long, for people: "40 s", "12 min", "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True)
class Budget:
    """What a predictor may use while it trains: the device, where to report to, and whether the person wants it to end.

    `stop` is set by a predictor that was interrupted (Ctrl-C) and is of use as it is: training ends there, and what there is
    is kept. One that is of no use yet lets the KeyboardInterrupt through. `checkpoints` are for what takes long.
    """

    device: str
    progress: Progress
    stop: Event = field(default_factory=Event)
    checkpoints: Checkpoints | None = None

    def below(self, *names: str) -> Budget:
        """The same, with the checkpoints of a part."""
        checkpoints = self.checkpoints
        for name in names:
            checkpoints = checkpoints.below(name) if checkpoints is not None else None
        return replace(self, checkpoints=checkpoints)

    @contextmanager
    def interruptible(self, useful: Callable[[], bool]) -> Iterator[None]:
        """A KeyboardInterrupt ends the block and sets `stop`, if what there is by then is `useful`."""
        try:
            yield
        except KeyboardInterrupt:
            if not useful():
                raise
            self.stop.set()
