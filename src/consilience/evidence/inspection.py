"""What is in a table, column by column: the use it is put to and why, what is missing or corrupt and where, its range.

Every cell of an input is read as a model would read it, by the input's own modality, because a file that exists may still
not open. The columns of a modality that groups them are read one by one, so that each has counts of its own. Of a column of
media at most `READ` cells are read, drawn evenly over the table; the numbers say of how many they are.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from consilience.data.schema import modality, modality_of
from consilience.data.table import is_empty
from consilience.data.view import View
from consilience.errors import ConsilienceError, Problem
from consilience.evidence.audit import KINDS, Examined, Finding, audit
from consilience.evidence.inspection_counts import ClassCount, Counts, Groups, Tally
from consilience.evidence.inspection_ranges import Range, even, ranging, shown
from consilience.progress import Advance, Progress
from consilience.recipe import setting
from consilience.types import Cell, ColumnRole, Input, Missing, Sample

READ = 20_000
"""The most cells that are read of a column of media."""

EXAMPLES = 3

_BATCH, _MEDIA_BATCH = 4096, 128  # rows; who interrupts waits for a batch
_KNOWN = 65_536  # different cells of a column whose sample is kept, so that equal ones are read once
_THERE = Sample()


@dataclass(frozen=True)
class Inspected:
    """One column. `cells` counts all rows; `by_class` and `by_part` are filled where something is missing or noted."""

    name: str
    role: str
    input: str
    modality: str
    kind: str
    reason: str
    cells: Counts
    by_class: tuple[Counts, ...]
    by_part: tuple[Counts, ...]
    range: Range
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Inspection:
    """What there is to know of a table before training; plain values only, so that `dataclasses.asdict` is JSON.

    task      what is predicted, as a sentence; "" without a target, or with one that cannot be learned
    classes   of the target; none where it has no classes
    problems  why training would stop, as it is
    checks    how many kinds of faults were looked for
    accepted  findings that the recipe says are in order
    """

    source: str
    rows: int
    target: str | None
    task: str
    inputs: tuple[str, ...]
    parts: dict[str, int]
    notes: tuple[str, ...]
    classes: tuple[ClassCount, ...]
    columns: tuple[Inspected, ...]
    problems: tuple[Problem, ...]
    findings: tuple[Finding, ...]
    checks: int
    accepted: tuple[str, ...]

    @property
    def faults(self) -> tuple[Problem, ...]:
        """All that is wrong or looks so, as an error says it."""
        return (*self.problems, *map(fault, self.findings))


def fault(finding: Finding) -> Problem:
    """A finding as an error says it."""
    return Problem(
        f"{finding.kind}: {finding.found}", do=f"settle it with {option(finding.setting)}" if finding.setting else ""
    )


def option(setting: str) -> str:
    """KEY=VALUE as an option of the command line, quoted for a shell, in the quotes that are easier to read."""
    double = "'" in setting and not set('"$`\\!') & set(setting)
    return f'--set "{setting}"' if double else f"--set {shlex.quote(setting)}"


def together(findings: Iterable[Finding]) -> str:
    """The options that settle findings in one go: lists of one key joined, because the last one would replace the others."""
    merged: dict[str, Any] = {}
    for finding in findings:
        key = finding.setting.partition("=")[0]
        value: Any = setting(finding.setting)
        for part in key.split("."):
            value = value[part]
        if key in ("exclude", "audit.accept"):
            merged[key] = list(dict.fromkeys([*merged.get(key, []), *value]))
        else:
            merged.setdefault(key, value)
    return " ".join(option(f"{key}={json.dumps(value, ensure_ascii=False)}") for key, value in merged.items())


def examine(examined: Examined, problems: Sequence[Problem], progress: Progress) -> Inspection:
    """Read every column of the table, then audit it: what was read is at hand then. `problems` say why training would stop."""
    view, task, splits = examined.view, examined.task, examined.splits
    groups = Groups(view, task, splits)
    items = {column: item for item in view.schema.inputs for column in item.columns}
    plan = [(note, items.get(note.column)) for note in view.schema.columns]
    with progress.bar("reading", sum(len(_rows(view, item)) for _, item in plan)) as advance:
        columns = tuple(_inspected(view, note, item, groups, advance) for note, item in plan)
    with progress.bar("looking for faults", 1) as advance:
        findings = audit(_auditable(examined))
        advance(1, "")
    return Inspection(
        source=view.table.source,
        rows=len(view),
        target=view.schema.target,
        task=task.describe() if task is not None else "",
        inputs=view.schema.names,
        parts=groups.part_counts(),
        notes=(*view.table.notes, *(splits.notes if splits is not None else ())),
        classes=groups.class_counts(),
        columns=columns,
        problems=tuple(problems),
        findings=tuple(findings),
        checks=len(KINDS),
        accepted=examined.recipe.audit.accept,
    )


def _auditable(examined: Examined) -> Examined:
    """Without its target where a part holds cells that the task has no answer for: checks take for granted that it has."""
    task, splits = examined.task, examined.splits
    if task is None or splits is None:
        return examined
    try:
        task.encode(examined.view.target(np.concatenate([splits.train, splits.valid, splits.test])))
    except ConsilienceError:  # it is among the problems that are shown
        return replace(examined, task=None, splits=None)
    return examined


def _inspected(view: View, note: ColumnRole, item: Input | None, groups: Groups, advance: Advance) -> Inspected:
    kind = _kind(item, note.column) if item is not None else ""
    tally, span = Tally(groups), ranging(view, item, kind)
    for rows, cells, samples in _read(view, item, note.column):
        tally.add(rows, samples)
        read = zip(rows.tolist(), cells, samples, strict=True)
        span.add([(row, cell, sample) for row, cell, sample in read if not isinstance(sample, Missing)])
        advance(len(rows), note.column)
    counts, reason = tally.all(), note.reason
    if item is not None and modality_of(item).media:
        filled = counts.rows - counts.missing
        reason += f"; {filled - sum(counts.corrupt.values())} of {filled} opened"
    return Inspected(
        name=note.column,
        role=note.role,
        input=note.input,
        modality=item.modality if item is not None else "",
        kind=kind,
        reason=reason,
        cells=counts,
        by_class=tally.by_class(),
        by_part=tally.by_part(),
        range=span.range(),
        examples=_examples(view, note.column),
    )


def _kind(item: Input, column: str) -> str:
    return item.kinds[item.columns.index(column)] if item.kinds else ""


def _rows(view: View, item: Input | None) -> np.ndarray:
    """The rows of which the cell is read."""
    return even(len(view), READ if item is not None and modality_of(item).media else len(view))


def _read(view: View, item: Input | None, column: str) -> Iterator[tuple[np.ndarray, Sequence[Cell], list[Sample | Missing]]]:
    """Rows, their cells and what they are read as, batch by batch; no cells where the column is an input of its own."""
    rows = _rows(view, item)
    size = _MEDIA_BATCH if item is not None and modality_of(item).media else _BATCH
    reader = _Reader(view, item, column) if item is not None and modality(item.modality).grouped else None
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        if item is not None and reader is None:
            yield batch, [None] * len(batch), view.samples(item.name, batch)
            continue
        cells = view.table.cells(column, batch)
        if reader is not None:
            yield batch, cells, [reader.read(cell) for cell in cells]
        else:
            yield batch, cells, [Missing("empty") if is_empty(cell) else _THERE for cell in cells]


class _Reader:
    """Reads the cells of one column of a group alone; of equal strings the first."""

    def __init__(self, view: View, item: Input, column: str) -> None:
        self.item = Input(item.name, item.modality, (column,), (_kind(item, column),))
        self.kind, self.column, self.limits = modality(item.modality), column, view.limits
        self.known: dict[str, Sample | Missing] = {}

    def read(self, cell: Cell) -> Sample | Missing:
        if not isinstance(cell, str):
            return self.kind.read(self.item, {self.column: cell}, self.limits)
        found = self.known.get(cell)
        if found is None:
            found = self.kind.read(self.item, {self.column: cell}, self.limits)
            if len(self.known) < _KNOWN:
                self.known[cell] = found
        return found


def _examples(view: View, column: str) -> tuple[str, ...]:
    """A few different cells in which something stands."""
    cells = view.table.cells(column, np.unique(np.linspace(0, len(view) - 1, 10 * EXAMPLES).astype(np.int64)))
    return tuple(dict.fromkeys(shown(cell) for cell in cells if not is_empty(cell)))[:EXAMPLES]
