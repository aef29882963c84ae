"""Groups, times and files that a split parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from consilience.evidence.audit import Finding
from consilience.evidence.audit.sides import CHECKS
from consilience.recipe import setting

Look = Callable[..., list[Finding]]
ROWS = 300


def table(**more: list[Any]) -> dict[str, list[Any]]:
    rng = np.random.default_rng(0)
    numbers = {name: [f"{value:.3f}" for value in rng.normal(size=ROWS)] for name in ("x", "z")}
    return {**numbers, **more, "y": [str(name) for name in rng.choice(["u", "v"], ROWS)]}


def people(each: int = 10) -> list[str]:
    return [f"P{number // each:02d}" for number in np.random.default_rng(1).permutation(ROWS)]


def test_nothing_is_said_without_groups(look: Look) -> None:
    assert look(CHECKS, table(), "y") == []


@pytest.mark.parametrize("name", ["patient", "Subject ID", "userId", "anon_customer_key"])
def test_a_group(name: str, look: Look) -> None:
    columns = table(**{name: people()})
    (finding,) = look(CHECKS, columns, "y")
    assert (finding.kind, finding.columns) == ("group-column", (name,))
    assert 70 < finding.count <= 90  # of 45 + 45 rows
    assert "each of its 30 values has 10 rows" in finding.found
    assert finding.setting == f"split.group={name}"
    assert look(CHECKS, columns, "y", setting(finding.setting)) == []
    assert look(CHECKS, columns, "y", setting("audit.accept=[]"), {"exclude": [name]}) != []  # left out, and still a group


@pytest.mark.parametrize("name", ["patients", "number of patient", "patient age", "colour", "weight"])
def test_names_of_no_groups(name: str, look: Look) -> None:
    assert look(CHECKS, table(**{name: people()}), "y") == []


def test_each_row_its_own(look: Look) -> None:
    assert look(CHECKS, table(patient=people(1)), "y") == []
    assert look(CHECKS, table(patient=["a", "b"] * 150), "y") == []  # two of them are no groups to split by


def test_a_subject_of_lessons_is_no_group(look: Look) -> None:
    subjects = ["art", "maths", "music", "sports", "history"] * 60
    assert look(CHECKS, table(subject=subjects), "y") == []


def test_classes_are_no_groups(look: Look) -> None:
    columns = table()
    columns["y"] = [f"class {number % 6}" for number in range(ROWS)]
    columns["speaker"] = [f"S{number % 6}" for number in range(ROWS)]
    assert look(CHECKS, columns, "y") == []


def test_a_group_without_a_name(look: Look) -> None:
    rng = np.random.default_rng(2)
    who = rng.permutation(np.repeat(np.arange(30), 10))
    of_each = rng.normal(size=(30, 5))
    columns = {f"x{j}": [f"{of_each[row, j] + rng.normal() / 5:.3f}" for row in who] for j in range(4)}
    columns["code"] = [f"K{row:02d}" for row in who]
    columns["y"] = ["u" if of_each[row, 4] + rng.normal() / 2 > 0 else "v" for row in who]
    (finding,) = look(CHECKS, columns, "y")
    assert (finding.kind, finding.columns) == ("group-column", ("code",))
    assert "tells 4 of 4 numeric inputs" in finding.found
    columns["code"] = [f"K{row:02d}" for row in rng.permutation(who)]
    assert look(CHECKS, columns, "y") == []


def test_the_split_column_parts_groups(look: Look) -> None:
    given = ["train"] * 200 + ["valid"] * 50 + ["test"] * 50
    columns = table(session=people(), split=given)
    (finding,) = look(CHECKS, columns, "y")
    assert (finding.kind, finding.columns) == ("group-across-parts", ("session",))
    assert finding.rows[0] >= 200
    assert finding.setting == "split={method: grouped, group: session, column: split}"
    assert look(CHECKS, columns, "y", setting(finding.setting)) == []
    whole = table(session=[f"P{number // 10:02d}" for number in range(ROWS)], split=given)
    assert look(CHECKS, whole, "y") == []


def test_a_group_that_the_recipe_names_as_an_input_can_only_be_accepted(look: Look) -> None:
    named = {"inputs": {"who": {"modality": "tabular", "columns": ["patient"]}}}
    (finding,) = look(CHECKS, table(patient=people()), "y", named)
    assert finding.setting == "audit.accept=['group-column:patient']"


def test_the_target_changes_over_time(look: Look) -> None:
    rng = np.random.default_rng(4)
    day = rng.integers(0, 1000, ROWS)
    columns = table(day=[str(np.datetime64("2020-01-01") + int(value)) for value in day])
    assert look(CHECKS, columns, "y") == []
    columns["y"] = ["u" if value + rng.normal() * 300 > 500 else "v" for value in day]
    (finding,) = look(CHECKS, columns, "y")
    assert (finding.kind, finding.columns, finding.setting) == ("time-column", ("day",), "split.time=day")
    assert look(CHECKS, columns, "y", setting(finding.setting)) == []
    columns["date of birth"] = columns.pop("day")
    assert look(CHECKS, columns, "y") == []


@pytest.mark.parametrize(("name", "first", "found"), [("year", 1990, True), ("timestamp", 1.5e9, True), ("year", 3, False)])
def test_numbers_as_times(name: str, first: float, found: bool, look: Look) -> None:
    when = np.arange(ROWS) // 10
    columns = table(**{name: [str(int(first + value)) for value in when]})
    columns["y"] = [
        f"{value + noise:.3f}" for value, noise in zip(when, np.random.default_rng(0).normal(size=ROWS) * 5, strict=True)
    ]
    assert [finding.kind for finding in look(CHECKS, columns, "y")] == ["time-column"] * found


def pictures(folder: Path) -> list[str]:
    rng = np.random.default_rng(0)
    for number in range(ROWS):
        PIL.Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return [f"{number}.png" for number in range(ROWS)]


def test_files_in_two_parts(look: Look, tmp_path: Path) -> None:
    names = pictures(tmp_path)
    given = ["train"] * 200 + ["valid"] * 50 + ["test"] * 50
    columns = table(photo=names, split=given)
    assert look(CHECKS, columns, "y", root=tmp_path) == []
    columns["photo"] = [*names[:298], "0.png", "1.png"]  # by name
    (tmp_path / "210.png").write_bytes((tmp_path / "5.png").read_bytes())  # by bytes
    (finding,) = look(CHECKS, columns, "y", root=tmp_path)
    assert (finding.kind, finding.columns, finding.rows) == ("media-across-parts", ("photo",), (210, 298, 299))
    assert finding.setting == "audit.accept=['media-across-parts:photo']"


def test_a_placeholder(look: Look, tmp_path: Path) -> None:
    names = pictures(tmp_path)
    columns = table(photo=["0.png"] * 20 + names[20:])
    (finding,) = look(CHECKS, columns, "y", root=tmp_path)
    assert (finding.kind, finding.columns, finding.count) == ("repeated-media", ("photo",), 20)
    assert "1 file stands in 20 of 300 rows of 'photo' (the file '0.png' in 20)" in finding.found
    assert finding.setting == "audit.accept=['repeated-media:photo']"
    columns = table(
        photo=[f"{number // 12}.png" for number in range(ROWS)], split=["train"] * 204 + ["valid"] * 48 + ["test"] * 48
    )
    assert look(CHECKS, columns, "y", root=tmp_path) == []  # each as often as any
