"""Columns against each other, and rows as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from consilience.evidence.audit import Finding, cells, columns
from consilience.evidence.audit.columns import CHECKS

Look = Callable[..., list[Finding]]


def table(**more: Sequence[str | None]) -> dict[str, Any]:
    return {"size": [f"{1 + row * 0.37:.2f}" for row in range(60)], "colour": ["red", "blue", "green"] * 20, **more}


def test_nothing_wrong(look: Look) -> None:
    assert look(CHECKS, table()) == []


def test_equal_columns(look: Look) -> None:
    (found,) = look(CHECKS, table(copy=table()["size"], other=["1.5", "2.5"] * 30))
    assert (found.kind, found.columns, found.count) == ("duplicate-columns", ("size", "copy"), 60)
    assert found.setting == "exclude=[copy]"


def test_numbers_of_other_spellings_are_equal_and_one_other_cell_is_enough(look: Look) -> None:
    whole = [str(row * 7 % 50) for row in range(60)]
    assert [finding.kind for finding in look(CHECKS, {"a": whole, "b": [f" {cell}.0" for cell in whole]})] == [
        "duplicate-columns"
    ]
    assert look(CHECKS, {"a": whole, "b": [*whole[:-1], "51"]}) == []
    assert look(CHECKS, {"a": whole, "b": [*whole[:-1], None]}) == []


def test_columns_that_are_equal_where_they_are_probed(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_PROBED", 5)
    size = table()["size"]
    assert look(CHECKS, table(copy=[*size[:1], "9.99", *size[2:]])) == []
    assert len(look(CHECKS, table(copy=size))) == 1
    colours = table()["colour"]
    assert look(CHECKS, table(other=[*colours[:40], "green", "blue", *colours[42:]])) == []  # rows 40 and 41 changed places


def test_three_equal_columns_are_two_findings_and_the_target_none(look: Look) -> None:
    size = table()["size"]
    assert [found.columns for found in look(CHECKS, table(b=size, c=size))] == [("size", "b"), ("size", "c")]
    assert look(CHECKS, table(y=size), "y") == []


def test_names(look: Look) -> None:
    for name in ("Size", "size ", " SIZE", "\uff53ize"):
        (found,) = look(CHECKS, table(**{name: ["1.5", "2.5"] * 30}))
        assert (found.kind, found.columns) == ("alike-names", ("size", name))
    assert len(look(CHECKS, {"first_name": ["a", "b"] * 30, "First Name": ["c", "d"] * 30})) == 1
    assert look(CHECKS, {"v11": ["a", "b"] * 30, "v1_1": ["c", "d"] * 30}) == []


def test_rows_of_names(look: Look) -> None:
    made = table()
    for row in (20, 40):
        for name in made:
            made[name][row] = name
    (found,) = look(CHECKS, made)
    assert (found.kind, found.count, found.rows, found.setting) == ("header-rows", 2, (20, 40), "audit.accept=[header-rows]")
    made["colour"][20] = "red"  # half of the columns are not most
    assert look(CHECKS, made)[0].rows == (40,)


def test_rows_without_input(look: Look) -> None:
    made = table(note=[f"some words of row {row} here" for row in range(60)])
    for row in (3, 7):
        made["size"][row], made["colour"][row], made["note"][row] = None, "NA", " "
    made["size"][9] = "large"  # is missing, but the others are there
    (found,) = look(CHECKS, made)
    assert (found.kind, found.count, found.rows) == ("rows-without-input", 2, (3, 7))


def test_files_are_read_only_where_nothing_else_is_there(look: Look, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos: list[str | None] = [f"{row}.png" for row in range(60)]  # 5 is broken, 6 cut off
    made = table(photo=photos)
    made["size"][5] = made["colour"][5] = made["size"][8] = made["colour"][8] = None
    assert [(found.kind, found.rows) for found in look(CHECKS, made, root=media)] == [("rows-without-input", (5,))]
    monkeypatch.setattr(columns, "READ", 1)
    assert look(CHECKS, made, root=media) == []


def test_of_large_tables_some_rows_are_looked_at(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ROWS", 30), ("LEAST", 10)):
        monkeypatch.setattr(cells, name, value)
    (found,) = look(CHECKS, table(copy=table()["size"]))
    assert "in all 30 rows looked at, of 60" in found.found
    monkeypatch.setattr(cells, "BYTES", 0)
    (found,) = look(CHECKS, table(copy=table()["size"]))
    assert "in all 10 rows looked at, of 60" in found.found
