"""What an audit says, and what it looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from consilience.data.split import Splits
from consilience.data.view import View
from consilience.recipe import Recipe
from consilience.tasks.base import Task

SHOWN = 10
"""The most rows that a finding names."""


@dataclass(frozen=True)
class Finding:
    """Something about a table that a person should know before training on it.

    kind      its name, such as "duplicate-rows"; `audit.accept` of the recipe takes it, or "kind:column" for one column
    columns   the columns concerned; none for whole rows
    count     how many rows are concerned
    rows      the first of them, at most `SHOWN`
    found     what was found, with its numbers, as one sentence
    setting   KEY=VALUE of the recipe, as `--set` takes it, with which the finding is settled and not made again
    """

    kind: str
    columns: tuple[str, ...]
    count: int
    rows: tuple[int, ...]
    found: str
    setting: str


@dataclass(frozen=True, eq=False)
class Examined:
    """What checks look at. `task` is fitted on the training rows; it and `splits` are None where no target is named."""

    view: View
    recipe: Recipe
    task: Task | None = None
    splits: Splits | None = None


Check = Callable[[Examined], Iterable[Finding]]
