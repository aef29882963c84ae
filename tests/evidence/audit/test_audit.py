"""The audit as a whole: what it runs, what it leaves out, what it refuses to accept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from consilience.errors import ConsilienceError
from consilience.evidence.audit import CHECKS, KINDS, Examined, audit, columns, files, labels, leaks, rows, target, values

MODULES = (columns, values, files, rows, target, leaks, labels)
ODD = (
    "a",
    "b: c",
    "#d",
    "e, f",
    "[g]",
    "{h}",
    "'i'",
    '"j"',
    "k\nl",
    " m ",
    "n=o.p",
    "yes",
    "12",
    "null",
    "é\u2028",
    "😀",
    "q\\r",
    "*s",
)
"""Names of columns that YAML reads as something else where they are not quoted."""


def table(**more: Sequence[str | None]) -> dict[str, Any]:
    """60 rows with nothing wrong but what is added."""
    return {"size": [f"{1 + row * 0.37:.2f}" for row in range(60)], "colour": ["red", "blue", "green"] * 20, **more}


def test_every_kind_has_a_meaning_and_one_module() -> None:
    assert len(KINDS) == sum(len(module.KINDS) for module in MODULES)
    assert all(meaning and not meaning.endswith(".") for meaning in KINDS.values())
    assert set(CHECKS) == {check for module in MODULES for check in module.CHECKS}


def test_a_clean_table_has_no_finding(seen: Callable[..., Examined]) -> None:
    assert audit(seen(table())) == []


def test_a_kind_or_a_kind_of_a_column_is_accepted(seen: Callable[..., Examined]) -> None:
    found = table(unit=["kg"] * 60, place=["here"] * 60)
    assert [(finding.kind, finding.columns) for finding in audit(seen(found))] == [
        ("constant-column", ("unit",)),
        ("constant-column", ("place",)),
    ]
    one = audit(seen(found, None, {"audit": {"accept": ["constant-column:unit"]}}))
    assert [finding.columns for finding in one] == [("place",)]
    assert audit(seen(found, None, {"audit": {"accept": ["constant-column"]}})) == []


def test_excluded_columns_are_not_looked_at(seen: Callable[..., Examined]) -> None:
    assert audit(seen(table(unit=["kg"] * 60), None, {"exclude": ["unit"]})) == []


def test_what_cannot_be_accepted_is_told_with_the_nearest_name(seen: Callable[..., Examined]) -> None:
    accept = ["constant-colum", "constant-column:colr", "spellings"]
    with pytest.raises(ConsilienceError) as error:
        audit(seen(table(), None, {"audit": {"accept": accept}}))
    problems = error.value.problems
    assert [problem.do for problem in problems] == ["did you mean 'constant-column'?", "did you mean 'colour'?"]


@pytest.mark.parametrize("name", ODD)
def test_settings_hold_names_with_odd_characters(name: str, seen: Callable[..., Examined]) -> None:
    from consilience.recipe import setting

    found = {"size": [f"{row * 0.37:.2f}" for row in range(60)], name: ["x"] * 60, "size ": ["red", "blue", "green"] * 20}
    (constant,) = [finding for finding in audit(seen(found)) if finding.kind == "constant-column"]
    assert setting(constant.setting) == {"exclude": [name]}
    alike = next(finding for finding in audit(seen(found)) if finding.kind == "alike-names")
    assert setting(alike.setting) == {"audit": {"accept": ["alike-names:size"]}}


def test_settings_keep_what_the_recipe_holds(seen: Callable[..., Examined]) -> None:
    from consilience.recipe import setting

    before = {"exclude": ["colour"], "audit": {"accept": ["id-column"]}}
    found = audit(seen(table(unit=["kg"] * 60, **{"size ": ["1.5", "2.5", "3.5"] * 20}), None, before))
    settings = [setting(finding.setting) for finding in found]
    assert {"exclude": ["colour", "unit"]} in settings
    assert {"audit": {"accept": ["id-column", "alike-names:size"]}} in settings
