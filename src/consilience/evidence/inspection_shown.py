"""An inspection for people: lines and tables on a terminal, or a page that is one file without scripts.

Narrow terminals get fewer and taller columns. Runs of numbered columns of one input that differ in nothing but their numbers
are one line: 64 lines that say the same hide the one that does not. Groups of rows are shown only where a column lacks more
there, or less, than chance explains. JSON has everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from consilience.evidence.audit import Finding
from consilience.evidence.drawing import visible
from consilience.evidence.inspection import Inspected, Inspection, option, together
from consilience.evidence.inspection_counts import Counts
from consilience.evidence.inspection_ranges import VALUES, Range

WIDE = 140
"""Characters of a terminal from which on every column of the table has a place of its own."""

SURPRISING, VISIBLE = 4.0, 0.01
"""A group is shown whose share of lost cells is so many standard deviations, and so much, from that of all rows."""

_RUN = 4  # so many like columns are one line
_GROUPS, _CLASSES = 20, 8  # groups and classes on a terminal


def write(inspection: Inspection, console: Console) -> None:
    """Print everything, for a terminal of the console's width."""
    for line in _head(inspection):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(_wide(inspection) if console.width >= WIDE else _narrow(inspection))
    groups = uneven(inspection)
    if groups:
        console.print(_uneven(groups[:_GROUPS]))
        if len(groups) > _GROUPS:
            console.print(f"{len(groups) - _GROUPS} more such groups: see --json or --out\n", markup=False, highlight=False)
    for line in [*_problems(inspection), *_findings(inspection)]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def page(inspection: Inspection) -> str:
    """The same as one HTML file, with every column."""
    template = Environment(
        loader=PackageLoader("consilience.evidence", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("inspection.html.jinja")
    words = {"said": _span, "share": share, "count": _count, "lost": _lost, "kinds": _kinds, "titled": titled}
    words |= {"option": option, "together": together, "visible": visible}
    source = Path(inspection.source).name
    made = template.render(it=inspection, source=source, groups=uneven(inspection), **words)
    return made.strip() + "\n"


def uneven(inspection: Inspection) -> list[tuple[Inspected, Counts]]:
    """The classes and parts in which a column lacks visibly more, or less, than in all rows; of the target all is known."""
    found = []
    for column in (column for column in inspection.columns if column.role != "target"):
        rate = column.cells.lost / max(column.cells.rows, 1)
        for group in (*column.by_class, *column.by_part):
            by_chance = SURPRISING * (rate * (1 - rate) / group.rows) ** 0.5
            if abs(group.lost / group.rows - rate) > max(by_chance, VISIBLE):
                found.append((column, group))
    return found


def share(count: int, rows: int) -> str:
    """`845 (3.6%)`; a share that is not 0 or all is never written as if it were."""
    if not count:
        return "0"
    percent = 100 * count / rows
    digits = f"{percent:.1f}" if 0.05 <= percent < 99.95 or count == rows else "<0.1" if percent < 50 else ">99.9"
    return f"{count} ({digits.removesuffix('.0')}%)"


def span(range: Range, filled: int) -> str:
    """A range in a line; `filled` is how many cells of the column were there to be counted."""
    if range.form == "values":
        common = ", ".join(f"{value} {count}" for value, count in range.common)
        more = ", ..." if range.different is not None and range.different > len(range.common) else ""
        said = f"over {VALUES} different" if range.different is None else f"{range.different} different: {common}{more}"
        said = said if range.cells else ""
    elif not range.marks:
        said = ""
    elif "all" in range.marks:
        said = f"all {range.marks['all']}"
    else:
        marks = {name: _number(mark) if isinstance(mark, float) else mark for name, mark in range.marks.items()}
        said = f"{marks['least']} .. {marks['greatest']}; median {marks['median']}"
        if "lower quartile" in marks:
            said += f", half in {marks['lower quartile']} .. {marks['upper quartile']}"
    return f"{said} (of {range.cells} cells drawn evenly)" if said and range.cells < filled else said


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.4g}"


def _lost(counts: Counts) -> str:
    """What is corrupt or repaired, by reason: the reason is what tells what to do."""
    lines = [f"{share(count, counts.rows)} {reason}" for reason, count in counts.corrupt.items()]
    lines += [f"repaired: {share(count, counts.rows)} {note}" for note, count in counts.repaired.items()]
    return "; ".join(lines) or "0"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _head(inspection: Inspection) -> list[str]:
    sizes = (_count(inspection.rows, "row"), _count(len(inspection.columns), "column"), _count(len(inspection.inputs), "input"))
    lines = [", ".join(sizes), f"table: {inspection.source}"]
    if inspection.target is not None:
        lines.append(f"target: {visible(inspection.target)}; {visible(inspection.task or 'it cannot be learned as it is')}")
    if inspection.classes:
        shown = [f"{visible(entry.label)} {share(entry.rows, inspection.rows)}" for entry in inspection.classes]
        lines.append(f"classes: {', '.join(shown[:_CLASSES])}{', ...' if len(shown) > _CLASSES else ''}")
    if inspection.parts:
        lines.append("parts: " + ", ".join(f"{name} {rows}" for name, rows in inspection.parts.items()))
    lines += [f"  {visible(note)}" for note in inspection.notes]
    return lines


def _lines(inspection: Inspection) -> list[tuple[str, Inspected, str]]:
    """Name, column and range of each line: of a run of like columns the first one, and how many there are."""
    lines = []
    for _, group in groupby(inspection.columns, key=_alike):
        run = list(group)
        if len(run) < _RUN:
            lines += [(visible(column.name), column, _span(column)) for column in run]
        else:
            name = f"{visible(run[0].name)} to {visible(run[-1].name)}, {len(run)} columns"
            lines.append((name, run[0], _common(run)))
    return lines


def _alike(column: Inspected) -> tuple[object, ...]:
    """What the columns of a run have in common; a name without a number, and a cell that is lost, are a column's own."""
    stem = re.sub(r"\d+$", "", column.name)
    own = column.name if stem == column.name or column.cells.lost or column.cells.repaired else ""
    return (stem, own, column.role, column.input, column.kind, column.reason, column.range.form)


def _common(run: Sequence[Inspected]) -> str:
    marks = [mark for column in run for mark in column.range.marks.values()]
    numbers = [mark for mark in marks if isinstance(mark, float)]
    return f"{_number(min(numbers))} .. {_number(max(numbers))} in all of them" if numbers else ""


def _span(column: Inspected) -> str:
    return span(column.range, column.cells.rows - column.cells.lost)


def _wide(inspection: Inspection) -> Table:
    table = _table("column", "role", "input", "modality", "missing", "corrupt", "range or values", "why")
    for name, column, said in _lines(inspection):
        kind = ", ".join(_kinds(column))
        missing, corrupt = share(column.cells.missing, column.cells.rows), _lost(column.cells)
        cells = (name, column.role, visible(column.input), kind, missing, corrupt, said, visible(column.reason))
        table.add_row(*map(Text, cells))
    return table


def _narrow(inspection: Inspection) -> Table:
    table = _table("column", "used as", "missing", "corrupt", "range or values, and why")
    table.columns[0].max_width, table.columns[3].max_width = 18, 16
    for name, column, said in _lines(inspection):
        used = _kinds(column) or [column.role]
        if column.input not in ("", column.name, column.modality):
            used.append(f"in {visible(column.input)}")
        why = Text(f"{said}\n" if said else "").append(visible(column.reason), style="dim")
        missing = share(column.cells.missing, column.cells.rows).replace(" ", "\n")
        table.add_row(Text(name), Text("\n".join(used)), Text(missing), Text(_lost(column.cells).replace("; ", "\n")), why)
    return table


def _kinds(column: Inspected) -> list[str]:
    """The modality and, of a column in a group, its kind; elsewhere the range says more."""
    return [name for name in (column.modality, column.kind if column.range.form != "sizes" else "") if name]


def _uneven(groups: Iterable[tuple[Inspected, Counts]]) -> Table:
    table = _table("column", "rows", "missing or corrupt", "in all rows", title="lacking more, or less, than chance explains")
    for column, group in groups:
        cells = (visible(column.name), visible(group.group), share(group.lost, group.rows))
        table.add_row(*map(Text, cells), Text(share(column.cells.lost, column.cells.rows)))
    return table


def _table(*head: str, title: str | None = None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", title_style="bold")
    for name in head:
        table.add_column(name, overflow="fold")
    return table


def _problems(inspection: Inspection) -> list[str]:
    if not inspection.problems:
        return []
    lines = ["training would stop:"]
    for problem in inspection.problems:
        lines += [f"  {line}" for line in visible(str(problem)).split("\n")]
    return [*lines, ""]


def _findings(inspection: Inspection) -> list[str]:
    """Each with what it is, where, and the setting that settles it."""
    accepted = f" (accepted: {', '.join(inspection.accepted)})" if inspection.accepted else ""
    if not inspection.findings:
        return [f"no findings; {_count(inspection.checks, 'kind')} of faults looked for{accepted}"]
    looked = f"{_count(inspection.checks, 'kind')} of faults looked for"
    lines = [f"{_count(len(inspection.findings), 'finding')}; {looked}{accepted}"]
    for number, finding in enumerate(inspection.findings, 1):
        lines += [f"{number}. {titled(finding)}", f"   {visible(finding.found)}"]
        if finding.rows:
            more = ", ..." if finding.count > len(finding.rows) else ""
            lines.append(f"   rows {', '.join(map(str, finding.rows))}{more}")
        lines.append(f"   settle it with: {option(finding.setting)}")
    if len(inspection.findings) > 1:
        lines.append(f"settle all with: {together(inspection.findings)}")
    return lines


def titled(finding: Finding) -> str:
    """Kind, columns and number of rows."""
    where = f" in {', '.join(map(visible, finding.columns))}" if finding.columns else ""
    return f"{finding.kind}{where}: {_count(finding.count, 'row')}"
