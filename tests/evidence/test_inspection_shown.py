"""An inspection on a terminal and on a page: what is said, that nothing in a cell can break it, and what is left out."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

import consilience
from consilience.errors import Problem
from consilience.evidence.audit import Finding
from consilience.evidence.inspection import Inspection
from consilience.evidence.inspection_counts import ClassCount
from consilience.evidence.inspection_ranges import Range
from consilience.evidence.inspection_shown import page, share, span, titled, uneven, write

SCRIPT = "<script>alert('x')</script> & \"quotes\""
VOID = {"meta", "br"}
TWINS = Finding("duplicate-rows", (), 12, tuple(range(10)), "12 rows equal an earlier one", "audit.accept=[duplicate-rows]")
LEAK = Finding("target-leak", ("it's",), 2, (0, 1), "it tells the target", """exclude=["it's"]""")


@pytest.fixture(scope="module")
def found(table: Any, media: Path, columns: Any) -> Inspection:
    """Half of class 0 has no note."""
    note = [None if row % 6 == 0 else cell for row, cell in enumerate(columns()["note"])]
    many = {f"x{number}": [str((row * number) % 11) for row in range(120)] for number in range(1, 9)}
    inspection = consilience.inspect(table(note=note, **many), "answer", media_root=media)
    return replace(inspection, findings=(), checks=17)


def lines(inspection: Inspection, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    write(inspection, console)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    return [" ".join(line.split()) for line in written.splitlines() if line.strip()]


class Page(HTMLParser):
    """The tags of a page and its words. Fails where tags are not in pairs."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.words = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words += data


def test_a_wide_terminal_has_a_line_for_each_column(found: Inspection) -> None:
    said = lines(found, 400)
    assert said[:6] == [
        "120 rows, 14 columns, 4 inputs",
        "table: the table",
        "target: answer; classification into 3 classes (calm, fever, pain)",
        "classes: calm 40 (33.3%), fever 40 (33.3%), pain 40 (33.3%)",
        "parts: train 84, valid 18, test 18",
        "test: at random within each class",
    ]
    photo = next(line for line in said if line.startswith("photo"))
    assert photo == (
        "photo input photo image 2 (1.7%) 1 (0.8%) file not found; 1 (0.8%) not an image; 1 (0.8%) truncated "
        "all 16 x 16 pixels 100% of 118 sampled cells end in .png and 117 of 118 exist; 115 of 118 opened"
    )
    age = next(line for line in said if line.startswith("age"))
    assert age.startswith("age input tabular tabular, number 2 (1.7%) 0 16.3 .. 76.9; median 50.3, half in")


def test_a_narrow_terminal_shows_the_same_in_less_width(found: Inspection) -> None:
    console = Console(width=80, file=io.StringIO())
    write(found, console)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    table = written[written.index("──") : written.index("lacking")]
    assert max(map(len, table.splitlines())) <= 80
    words = " ".join(table.split())
    for part in ("tabular", "number", "(1.7%)", "not an", "all 16 x 1"):
        assert part in words


def test_like_columns_are_one_line_but_those_that_lack_something_are_not(found: Inspection) -> None:
    said = lines(found, 300)
    runs = [line for line in said if re.match(r"x\d", line)]
    assert len(runs) == 1
    assert runs[0].startswith("x1 to x8, 8 columns input x tabular, number 0 0 0 .. 10 in all of them")
    third = next(place for place, column in enumerate(found.columns) if column.name == "x3")
    lacking = replace(found.columns[third], cells=replace(found.columns[third].cells, missing=1))
    changed = replace(found, columns=(*found.columns[:third], lacking, *found.columns[third + 1 :]))
    names = [line.split(" input")[0] for line in lines(changed, 300) if re.match(r"x\d", line)]
    assert names == ["x1", "x2", "x3", "x4 to x8, 5 columns"]


def test_groups_are_shown_where_they_lack_more_than_chance_explains(found: Inspection) -> None:
    # 20 of 40 rows of class calm, and rows 9 and 11: 22 of 120 in all, of which a class of 40 has 7.3, give or take 2.4.
    groups = uneven(found)
    assert [(column.name, group.group, group.lost) for column, group in groups] == [("note", "calm", 21)]
    said = lines(found, 300)
    place = said.index("lacking more, or less, than chance explains")
    assert said[place + 3] == "note calm 21 (52.5%) 22 (18.3%)"
    even = replace(found, columns=tuple(column for column in found.columns if column.name != "note"))
    assert "lacking" not in " ".join(lines(even, 300))


def test_findings_have_a_number_and_what_settles_them(found: Inspection) -> None:
    assert lines(found, 300)[-1] == "no findings; 17 kinds of faults looked for"
    accepted = replace(found, accepted=("constant", "outliers:age"))
    assert lines(accepted, 300)[-1] == "no findings; 17 kinds of faults looked for (accepted: constant, outliers:age)"
    said = lines(replace(found, findings=(TWINS, LEAK)), 80)
    assert said[said.index("2 findings; 17 kinds of faults looked for") :] == [
        "2 findings; 17 kinds of faults looked for",
        "1. duplicate-rows: 12 rows",
        "12 rows equal an earlier one",
        "rows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...",
        "settle it with: --set 'audit.accept=[duplicate-rows]'",
        "2. target-leak in it's: 2 rows",
        "it tells the target",
        "rows 0, 1",
        """settle it with: --set 'exclude=["it'"'"'s"]'""",
        """settle all with: --set 'audit.accept=["duplicate-rows"]' --set 'exclude=["it'"'"'s"]'""",
    ]
    one = lines(replace(found, findings=(TWINS,)), 300)
    assert one[-1].startswith("settle it with")
    assert titled(replace(LEAK, columns=("a", "b"), count=1)) == "target-leak in a, b: 1 row"


def test_problems_stand_before_the_findings(found: Inspection) -> None:
    said = lines(replace(found, task="", problems=(Problem("2 rows have no target", "a target", "fill them"),)), 300)
    place = said.index("training would stop:")
    assert said[place : place + 4] == [
        "training would stop:",
        "2 rows have no target",
        "expected: a target",
        "do: fill them",
    ]
    assert "target: answer; it cannot be learned as it is" in said


def test_many_classes_are_cut_on_a_terminal(found: Inspection) -> None:
    classes = tuple(ClassCount(f"c{number}", 12, {}) for number in range(10))
    said = lines(replace(found, classes=classes), 300)
    assert said[3] == "classes: " + "".join(f"c{number} 12 (10%), " for number in range(8)) + "..."
    assert "c9" in Page(page(replace(found, classes=classes))).words


@pytest.mark.parametrize(
    ("count", "rows", "said"),
    [
        (0, 0, "0"),
        (0, 9, "0"),
        (1, 3, "1 (33.3%)"),
        (9, 9, "9 (100%)"),
        (1, 10000, "1 (<0.1%)"),
        (9999, 10000, "9999 (>99.9%)"),
    ],
)
def test_a_share_that_is_not_all_is_not_written_so(count: int, rows: int, said: str) -> None:
    assert share(count, rows) == said


@pytest.mark.parametrize(
    ("range", "filled", "said"),
    [
        (Range("values", 0, {}, 0), 0, ""),
        (Range("values", 9, {}, None), 9, "over 1000 different"),
        (Range("values", 9, {}, 2, (("a", 5), ("b", 4))), 9, "2 different: a 5, b 4"),
        (Range("values", 9, {}, 3, (("a", 5), ("b", 3))), 9, "3 different: a 5, b 3, ..."),
        (Range("numbers", 0, {}), 0, ""),
        (Range("sizes", 3, {"all": "1 step"}), 3, "all 1 step"),
        (
            Range("sizes", 3, {"least": "1 word", "median": "2 words", "greatest": "9 words"}),
            5,
            "1 word .. 9 words; median 2 words",
        ),
    ],
)
def test_ranges_in_a_line(range: Range, filled: int, said: str) -> None:
    assert span(range, filled).startswith(said)
    assert span(range, filled).endswith(f"(of {range.cells} cells drawn evenly)") == (filled > range.cells)


def test_the_page_says_all_and_stands_alone(found: Inspection) -> None:
    html = page(replace(found, findings=(TWINS, LEAK), problems=(Problem("stop", "go", "mend"),), accepted=("constant",)))
    read = Page(html)
    assert html == page(
        replace(found, findings=(TWINS, LEAK), problems=(Problem("stop", "go", "mend"),), accepted=("constant",))
    )
    for word in (
        "1 (0.8%) not an image",
        "115 of 118 opened",
        "x7",
        "22 (18.3%)",
        "Expected: go",
        "17 kinds",
        "Accepted: constant",
    ):
        assert word in read.words
    assert "--set 'audit.accept=[duplicate-rows]'" in read.words
    assert not {"script", "link", "img", "iframe"} & set(read.tags)
    assert not {"src", "onclick", "onload"} & set(read.attributes)
    assert "http" not in html
    assert 'name="viewport"' in html
    assert "@media (max-width" in html
    assert "No findings" in Page(page(found)).words


def test_nothing_in_a_table_breaks_the_page_or_the_terminal(tmp_path: Path) -> None:
    name = f"x {SCRIPT} \x1b[31m"
    table = pa.table({name: [SCRIPT, "b\x1b[2J"] * 20, "y": ["</style>", "[bold]"] * 20})
    inspection = consilience.inspect(table, "y", settings=[{"inputs": {SCRIPT: {"modality": "tabular", "columns": [name]}}}])
    finding = Finding("k", (name,), 1, (), f"\x1b[31m {SCRIPT}", f"exclude=['{SCRIPT}']".replace("'x'", "x"))
    inspection = replace(inspection, source=f"{tmp_path}/{SCRIPT}", notes=(SCRIPT,), findings=(finding,))
    html = page(inspection)
    read = Page(html)
    assert "script" not in read.tags
    assert read.tags.count("style") == 1
    assert SCRIPT in read.words
    for width in (80, 300):
        console = Console(width=width, file=io.StringIO())
        write(inspection, console)
        written = console.file.getvalue()  # type: ignore[attr-defined]
        assert "\x1b" not in written
        assert "[bold]" in written


def test_without_a_target_the_page_says_so(found: Inspection) -> None:
    without = replace(found, target=None, task="", parts={}, classes=(), notes=())
    assert "No target is named" in Page(page(without)).words
    assert lines(without, 300)[2].startswith("column role")
