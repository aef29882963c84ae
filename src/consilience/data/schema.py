"""Which columns form which inputs, and why. The schema holds choices and reasons, and no statistic of the rows."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from functools import cache

from consilience import component
from consilience.data import isolated
from consilience.data.several import Many, holds_items, holds_lists, may_hold_lists
from consilience.data.split import part_of
from consilience.data.table import Table
from consilience.errors import Problem, fail, nearest, raise_all
from consilience.modalities.base import Modality
from consilience.recipe import InputSpec, Recipe
from consilience.types import Claim, Column, ColumnRole, Input, Role, Schema

UNSURE = 0.2
"""A claim below this is no reason to use a column: it is left out, and said so."""

BLOCK = 8
"""So many numbered columns of one stem (margin1, margin2, ...) are a block: an input of their own."""


@cache
def modality(name: str) -> Modality:
    """The modality of that name; they keep no state, so one of each is enough."""
    return component.find("modalities", name)()


def modality_of(item: Input) -> Modality:
    """The modality that reads, varies and takes apart the samples of an input: its own, or that of lists of it."""
    return several(item.modality) if item.many else modality(item.modality)


@cache
def several(name: str) -> Modality:
    """The modality of lists of what the named one reads."""
    return Many(modality(name))


def infer_schema(table: Table, recipe: Recipe) -> Schema:
    """Roles and inputs for every column of `table`. Raises ConsilienceError with every problem at once."""
    named = _named_roles(table, recipe)
    explicit = {name: _columns(spec, table, name, named) for name, spec in recipe.inputs.items()}
    notes: list[ColumnRole] = []
    grouped: list[tuple[Column, str, Claim]] = []
    inputs: list[Input] = []
    taken = {column: name for name, columns in explicit.items() for column in columns}
    automatic_split = recipe.split.method == "auto" and "split" not in {role for role, _ in named.values()}
    for name in table.names:
        if name in named:
            notes.append(ColumnRole(name, *named[name]))
            continue
        if name in taken:
            notes.append(ColumnRole(name, "input", f"named in inputs.{taken[name]} of the recipe", taken[name]))
            continue
        column = table.column(name, recipe.limit)
        unused = _role_without_claim(column, automatic_split)
        if unused is not None:
            notes.append(ColumnRole(name, *unused))
            continue
        kind, claim = best_claim(column)
        if kind is None or claim.confidence < UNSURE:
            notes.append(ColumnRole(name, "excluded", f"of no use as it is: {claim.reason}; name it under inputs to use it"))
        elif modality(kind).grouped:
            grouped.append((column, kind, claim))
        else:
            free = _free(name, kind, {*recipe.inputs, *(other.name for other in inputs)})
            inputs.append(Input(free, kind, (name,), (claim.kind,), claim.many))
            notes.append(ColumnRole(name, "input", claim.reason, free))
    for item, reasons in _groups(grouped, {*recipe.inputs, *(other.name for other in inputs)}):
        inputs.append(item)
        notes += [ColumnRole(column, "input", reason, item.name) for column, reason in zip(item.columns, reasons, strict=True)]
    inputs += [_explicit(table, name, recipe, columns) for name, columns in explicit.items()]
    if not inputs:
        found = "; ".join(f"{note.column}: {note.reason}" for note in notes)
        raise fail(f"no column can be used as an input ({found})", "at least one", "name one under `inputs` of the recipe")
    order = {name: index for index, name in enumerate(table.names)}
    inputs.sort(key=lambda item: order[item.columns[0]])
    return Schema(recipe.target, tuple(inputs), tuple(sorted(notes, key=lambda note: order[note.column])))


def _detect(name: str, many: bool, column: Column) -> Claim | None:
    """What a modality says of a column, or of the items of its lists; in a process of its own where the recipe says so."""
    kind = several(name) if many else modality(name)
    if column.limits.isolate is None or not kind.media or not any(map(isolated.may_hold_file, column.cells)):
        return kind.detect(column)
    return isolated.detect(name, many, column)


def best_claim(column: Column) -> tuple[str | None, Claim]:
    """The modality that is surest of a column, and its claim. Where its cells are lists, of the items before the cells."""
    kinds = {name: modality(name) for name in component.names("modalities")}
    lists = [name for name, kind in kinds.items() if not kind.grouped] if may_hold_lists(column) else []
    claims = _claims(lists, True, column) or _claims(list(kinds), False, column)
    if not claims:
        return None, Claim(0.0, "no modality recognises its cells")
    return max(claims, key=lambda item: item[1].confidence)


def _claims(kinds: Sequence[str], many: bool, column: Column) -> list[tuple[str, Claim]]:
    return [(name, claim) for name in kinds if (claim := _detect(name, many, column)) is not None]


def check_columns(schema: Schema, table: Table, *, target: bool = False) -> None:
    """A table must have every column that the schema reads; with `target` also what scoring needs, target and weight.

    Raises ConsilienceError naming all that are missing.
    """
    scored = (schema.target, schema.role("weight")) if target else ()
    needed = [column for item in schema.inputs for column in item.columns] + [name for name in scored if name is not None]
    raise_all(
        Problem(
            f"{table.source} has no column {name!r}",
            "the columns that the run was trained on",
            "add it, empty where it is not known, or rename one: " + nearest(name, set(table.names) - set(needed)),
        )
        for name in dict.fromkeys(needed)
        if name not in table.names
    )


def _named_roles(table: Table, recipe: Recipe) -> dict[str, tuple[Role, str]]:
    """Columns whose role the recipe states."""
    stated: tuple[tuple[str, str | None, Role], ...] = (
        ("target", recipe.target, "target"),
        ("weight", recipe.weight, "weight"),
        ("split.column", recipe.split.column, "split"),
        ("split.group", recipe.split.group, "group"),
        ("split.time", recipe.split.time, "time"),
    )
    wanted: list[tuple[str, str, Role]] = [(key, name, role) for key, name, role in stated if name is not None]
    for name in recipe.exclude:
        wanted.append(("exclude", name, "excluded"))
    roles: dict[str, tuple[Role, str]] = {}
    problems: list[Problem] = []
    for key, name, role in wanted:
        if name not in table.names:
            problems.append(
                Problem(f"{key} names the column {name!r}", f"a column of {table.source}", nearest(name, table.names))
            )
        elif name in roles and roles[name][0] != role and "excluded" not in (role, roles[name][0]):
            problems.append(
                Problem(f"the column {name!r} is both {roles[name][0]} and {role}", "one role", "choose another column")
            )
        elif name in roles and "target" in (role, roles[name][0]) and role != roles[name][0]:
            problems.append(Problem(f"the target {name!r} is excluded", "a target that is kept", "remove it from exclude"))
        elif name not in roles:
            roles[name] = (role, f"named as {key}")
    raise_all(problems)
    return roles


def _columns(spec: InputSpec, table: Table, name: str, named: Iterable[str]) -> tuple[str, ...]:
    """The columns that an explicit input stands for."""
    problems: list[Problem] = []
    found: list[str] = []
    for pattern in spec.columns:
        matched = [pattern] if pattern in table.names else [c for c in table.names if fnmatch.fnmatchcase(c, pattern)]
        if not matched:
            problems.append(Problem(f"inputs.{name}.columns names {pattern!r}", "a column", nearest(pattern, table.names)))
        found += [column for column in matched if column not in named or pattern == column]
    if not found and not problems:
        problems.append(
            Problem(f"inputs.{name} has no column that is free", "at least one", "name columns that have no other role")
        )
    problems += [
        Problem(f"inputs.{name} uses the column {column!r}, which has another role", "an input column", "choose one of the two")
        for column in found
        if column in named
    ]
    if spec.modality not in component.names("modalities"):
        advice = nearest(spec.modality, component.names("modalities"))
        problems.append(Problem(f"inputs.{name}.modality is {spec.modality!r}", "a modality", advice))
    elif len(found) > 1 and not modality(spec.modality).grouped:
        problems.append(
            Problem(f"inputs.{name} has {len(found)} columns", f"one column for {spec.modality}", "make several inputs")
        )
    raise_all(problems)
    return tuple(dict.fromkeys(found))


def _explicit(table: Table, name: str, recipe: Recipe, columns: tuple[str, ...]) -> Input:
    spec, seen = recipe.inputs[name], [table.column(column, recipe.limit) for column in columns]
    kind = modality(spec.modality)
    if not kind.grouped:  # one column, and the recipe knows better than its cells look; but not whether they are lists
        (column,) = seen
        claim = _detect(spec.modality, False, column)
        items = _detect(spec.modality, True, column)
        many = items is not None or (claim is None and holds_items(column, kind.media))
        chosen = items or claim
        return Input(name, spec.modality, columns, (chosen.kind if chosen is not None else "",), many)
    kinds = []
    for column in seen:
        claim = kind.detect(column)
        if holds_lists(column):
            raise fail(
                f"inputs.{name} reads {column.name!r} as {spec.modality}, but its cells are lists",
                f"one value a cell: {spec.modality} takes no lists",
                "choose another modality, or make a column of each value",
            )
        if claim is None:
            raise fail(
                f"inputs.{name} reads {column.name!r} as {spec.modality}, but its cells are of no kind that this has",
                f"cells that are {spec.modality}",
                "choose another modality or column",
            )
        kinds.append(claim.kind)
    return Input(name, spec.modality, columns, tuple(kinds))


def _role_without_claim(column: Column, automatic_split: bool) -> tuple[Role, str] | None:
    """Columns that are no input whatever their cells are, told from their name and their counts."""
    if column.empty == column.rows:
        return "excluded", "every cell is empty"
    if column.distinct == 1 and not column.empty:
        return "excluded", "every cell is the same"
    if automatic_split and re.fullmatch(r"(data)?_?(split|subset|partition|fold|set)", column.name, re.IGNORECASE):
        parts = {part_of(cell) for cell in column.cells}
        if None not in parts and "train" in parts and column.distinct <= 6:
            return "split", "its name says split and its cells are " + ", ".join(sorted({str(cell) for cell in column.cells}))
    named_id = re.fullmatch(r"(.*[_ ])?(id|uuid|guid|index|unnamed: 0)", column.name, re.IGNORECASE) or column.name.endswith(
        "Id"
    )
    if named_id and column.distinct == column.rows:
        return "id", "its name says identifier and every cell is different"
    return None


def _groups(grouped: list[tuple[Column, str, Claim]], used: set[str]) -> list[tuple[Input, list[str]]]:
    """Columns of a grouped modality -> inputs: blocks of numbered columns, and the rest together."""
    stems: dict[tuple[str, str], list[tuple[Column, str, Claim]]] = {}
    for entry in grouped:
        match = re.fullmatch(r"(.*?)[ _.\-]?\d+", entry[0].name)
        stems.setdefault((entry[1], match.group(1) if match else ""), []).append(entry)
    groups: list[tuple[str, list[tuple[Column, str, Claim]], str]] = []
    rest: dict[str, list[tuple[Column, str, Claim]]] = {}
    for (kind, stem), entries in stems.items():
        if stem and len(entries) >= BLOCK:
            groups.append((stem, entries, f"one of {len(entries)} numbered columns {stem}..: a block; "))
        else:
            rest.setdefault(kind, []).extend(entries)
    order = {entry[0].name: index for index, entry in enumerate(grouped)}
    for kind, entries in rest.items():
        entries.sort(key=lambda entry: order[entry[0].name])
        groups.append((entries[0][0].name if len(entries) == 1 else kind, entries, ""))
    found = []
    for name, entries, prefix in groups:
        free = _free(name, entries[0][1], used)
        used.add(free)
        columns = tuple(entry[0].name for entry in entries)
        item = Input(free, entries[0][1], columns, tuple(entry[2].kind for entry in entries))
        found.append((item, [prefix + entry[2].reason for entry in entries]))
    return found


def _free(name: str, kind: str, used: set[str]) -> str:
    """`name`, with the modality behind it as often as it takes to be no name in `used`."""
    while name in used:
        name = f"{name}_{kind}"
    return name
