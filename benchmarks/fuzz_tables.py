"""Any table is read as it stands or refused with an error of ours; hypothesis makes the tables.

    python benchmarks/fuzz_tables.py [--examples 2000] [--seed 0]

Three properties. A file that another program wrote (Python's csv and json, Arrow's Parquet and Feather) gives as many rows
with the same cells in the same order. `inspect` of any table, with any of its columns as the target, counts all rows and can
be shown as text, JSON and a page. What is trained on one table answers every row of any other that has its columns, with
finite probabilities, and emptying one row changes no other answer. A ConsilienceError is an answer too; the figures say how
often, and how it began. Anything else that is raised is a failure. The tests run a few dozen examples of each.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import re
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from rich.console import Console

import consilience
import results
from consilience.data.keeping import written
from consilience.data.table import read_table
from consilience.errors import ConsilienceError
from consilience.evidence.inspection_shown import page as html
from consilience.evidence.inspection_shown import write

NAME = "fuzz: tables"
EXAMPLES = 2000

Columns = dict[str, list[Any]]

ODD = ["", " ", "NA", "nan", "-", "?", "1e400", str(10**400), "0x1F", "1,5", "é", "e\u0301", "\ufeff", "\u2028", "'", '"', "{"]
ODD += ["a,b", "a;b", "a\tb", "a|b", "a\nb", "\r", "\r\n", "true", "x.png", "[1, 2]", "2024-02-30", "2024-01-02", "03/04/2020"]
TEXT = st.one_of(st.sampled_from(ODD), st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=12))
RARE = st.one_of(*[TEXT] * 15, st.text(st.characters(), max_size=3))  # NUL, halves of characters
USUAL = st.sampled_from(["a", "b", "c", "id", "split", "x.1", "a=b", "name of a thing", "né"])
WORDS = st.text(st.characters(exclude_characters="\x00", codec="utf-8"), min_size=1, max_size=12).filter(str.strip)
NAMES = st.one_of(*[USUAL] * 24, *[WORDS] * 8, TEXT)
"""Blank names and double ones are refused, so they are rare: most tables shall come to what is behind."""
NUMBER = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.sampled_from([-0.0, 5e-324, 1.7e308, 2**53 + 1, 10**400, -999, 1]),
)
TYPES: dict[str, tuple[st.SearchStrategy[Any], pa.DataType]] = {
    "text": (TEXT, pa.string()),
    "few": (st.sampled_from(["a", "b", "B ", "c"]), pa.string()),
    "whole": (st.integers(-(2**63), 2**63 - 1), pa.int64()),
    "float": (st.floats(), pa.float64()),
    "bool": (st.booleans(), pa.bool_()),
    "date": (st.dates(), pa.date32()),
    "time": (st.datetimes(), pa.timestamp("us")),
    "bytes": (st.binary(max_size=9), pa.binary()),
    "list": (st.lists(st.one_of(st.none(), st.floats()), max_size=3), pa.list_(pa.float64())),
    "words": (st.lists(TEXT, max_size=3), pa.list_(pa.string())),
    "struct": (
        st.fixed_dictionaries({"x": st.one_of(st.none(), st.integers(0, 9)), "y": TEXT}),
        pa.struct({"x": pa.int64(), "y": pa.string()}),
    ),
}


@st.composite
def heads(draw: st.DrawFn, least: int = 1) -> list[str]:
    """Names of columns; one name in two places is rare."""
    unique = draw(st.sampled_from([True] * 15 + [False]))
    return draw(st.lists(NAMES, min_size=least, max_size=6, unique=unique))


@st.composite
def texts(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    """Names, and rows of strings, as a CSV has them."""
    head = draw(heads())
    rows = draw(st.lists(st.lists(RARE, min_size=len(head), max_size=len(head)), max_size=40))
    return head, rows


@st.composite
def records(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Objects with cells of any kind that JSON has."""
    cell = st.one_of(
        st.none(), TEXT, st.booleans(), NUMBER, st.lists(TEXT, max_size=2), st.dictionaries(TEXT, TEXT, max_size=2)
    )
    head = draw(st.lists(TEXT, min_size=1, max_size=4, unique=True))
    return draw(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(head, cell)), max_size=40))


@st.composite
def tables(draw: st.DrawFn, least: int = 0, most: int = 40, columns: int = 1) -> pa.Table:
    """Columns of one type each, with gaps."""
    rows = draw(st.integers(least, most))
    head = draw(heads(columns))
    made = []
    for _ in head:
        strategy, kind = TYPES[draw(st.sampled_from(sorted(TYPES)))]
        cells = draw(st.lists(st.one_of(strategy, strategy, strategy, st.none()), min_size=rows, max_size=rows))
        made.append(pa.array(cells, kind))
    return pa.Table.from_arrays(made, head)


def same(found: Any, wanted: Any) -> bool:
    """Equal, NaN to NaN; what stands among cells of another kind may have become text, a whole number a float."""
    if found is None or wanted is None:
        return (found is None or _nothing(found)) and (wanted is None or _nothing(wanted))
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return all(same(found.get(key), wanted.get(key)) for key in found.keys() | wanted.keys())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    return bool(found == wanted) or (_nothing(found) and _nothing(wanted)) or found == written(wanted)


def _nothing(cell: Any) -> bool:
    return cell == "" or (isinstance(cell, float) and math.isnan(cell))


def check_text(data: tuple[list[str], list[list[str]]], folder: Path) -> None:
    """A CSV or TSV in which everything is quoted, so that nothing is left to guess; and one with what must be."""
    head, rows = data
    ways = [("csv", ",", csv.QUOTE_ALL), ("tsv", "\t", csv.QUOTE_ALL), ("csv", ";", csv.QUOTE_ALL)]
    if len(head) > 1 and head[0] == head[0].strip("\ufeff \r\n"):  # else a mark of UTF-8, or another separator
        ways += [("csv", ",", csv.QUOTE_MINIMAL), ("tsv", "\t", csv.QUOTE_MINIMAL)]
    for ending, separator, quoting in ways:
        buffer = io.StringIO()
        csv.writer(
            buffer, delimiter=separator, quoting=quoting, lineterminator="\n" if quoting == csv.QUOTE_ALL else "\r\n"
        ).writerows([head, *rows])
        path = folder / f"table.{ending}"
        path.write_bytes(buffer.getvalue().encode("utf-8", "surrogatepass"))
        table = read_table(path)
        assert list(table.names) == head, f"names {table.names} of {head}"
        assert len(table) == len(rows), f"{len(table)} rows of {len(rows)}"
        for place, name in enumerate(head):
            assert all(map(same, table.cells(name), [row[place] for row in rows])), f"{name!r}: {list(table.cells(name))}"


def check_json(data: list[dict[str, Any]], folder: Path) -> None:
    """An array of objects, and one object a line."""
    lines = "".join(json.dumps(row) + "\n" for row in data)
    for path, text in ((folder / "table.json", json.dumps(data)), (folder / "table.jsonl", lines)):
        path.write_text(text)
        table = read_table(path)
        assert len(table) == len(data), f"{len(table)} rows of {len(data)}"
        assert set(table.names) == {name for row in data for name in row}
        for name in table.names:
            found = list(table.cells(name))
            assert all(map(same, found, [row.get(name) for row in data])), f"{name!r}: {found}"


def check_arrow(table: pa.Table, folder: Path) -> None:
    """Parquet, Feather, and the table itself."""
    pq.write_table(table, folder / "table.parquet")
    pyarrow.feather.write_feather(table, str(folder / "table.feather"))
    for source in (folder / "table.parquet", folder / "table.feather", table):
        read = read_table(source)
        assert list(read.names) == table.column_names and len(read) == table.num_rows
        for name in read.names:
            assert all(map(same, read.cells(name), table.column(name).to_pylist())), f"{name!r}: {list(read.cells(name))}"


def check_inspect(table: pa.Table, target: str | None) -> None:
    """All rows are counted, and it can be shown."""
    found = consilience.inspect(table, target)
    assert found.rows == table.num_rows
    assert all(column.cells.rows <= found.rows for column in found.columns)
    assert {column.name for column in found.columns} == set(table.column_names)
    json.dumps(asdict(found), allow_nan=False).encode()
    write(found, Console(file=io.StringIO(), width=200))
    html(found).encode()


TINY = {
    "predictors": {"fused": None, "single": None, "stack": None, "trees": None, "linear": {"strength": 0.1}},
    "refit": False,
}


def check_fit(table: pa.Table, other: pa.Table, row: int) -> None:
    """Every row of another table with the same columns is answered, and no answer hangs on another row."""
    rows = table.num_rows
    answer = pa.array([("yes", "no")[place % 2] for place in range(rows)])
    run = consilience.fit(table.append_column("the answer", answer), "the answer", settings=[TINY])
    needed = [column for item in run.schema.inputs for column in item.columns]
    kept = [name for name in other.column_names if name not in needed]
    whole = {name: other.column(name) if name in other.column_names else pa.nulls(other.num_rows) for name in needed}
    asked = pa.table(whole | {name: other.column(name) for name in kept})
    chances = run.predict_proba(asked)
    assert chances.shape == (other.num_rows, 2) and np.isfinite(chances).all()
    assert len(run.predictions(asked)) == other.num_rows
    place = row % other.num_rows
    emptied = {
        name: pa.array(
            [None if here == place else cell for here, cell in enumerate(asked.column(name).to_pylist())], field.type
        )
        for name, field in zip(asked.column_names, asked.schema, strict=True)
    }
    again = run.predict_proba(pa.table(emptied))
    others = np.arange(other.num_rows) != place
    assert np.array_equal(again[others], chances[others]), "emptying a row changed another"


def _in_folder(check: Callable[[Any, Path], None]) -> Callable[[Any], None]:
    def checked(data: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            check(data, Path(folder))

    return checked


@st.composite
def _inspected(draw: st.DrawFn) -> tuple[pa.Table, str | None]:
    table = draw(tables(least=1, columns=2))
    return table, draw(st.sampled_from([None, *table.column_names]))


PROPERTIES: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], None], float]] = {
    "text": (texts(), _in_folder(check_text), 1.0),
    "json": (records(), _in_folder(check_json), 1.0),
    "arrow": (tables(), _in_folder(check_arrow), 1.0),
    "inspect": (_inspected(), lambda data: check_inspect(*data), 0.25),
    "fit": (st.tuples(tables(30, 40), tables(1, 8), st.integers(0, 7)), lambda data: check_fit(*data), 0.1),
}
"""Name -> the tables, the property, and its share of the examples."""


def explore(name: str, examples: int, seed: int) -> tuple[Counter[str], int]:
    """Check a property: how often tables were refused, by the first words, and how many there were. Raises what failed."""
    strategy, check, _ = PROPERTIES[name]
    refused: Counter[str] = Counter()
    tried = 0

    @seeded(seed)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def explored(data: Any) -> None:
        nonlocal tried
        tried += 1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                check(data)
        except ConsilienceError as error:
            said = error.problems[0]
            assert said.found and said.expected, "an error that says nothing"
            refused[_kind(said.found)] += 1

    explored()
    return refused, tried


def _kind(found: str) -> str:
    """The first words of an error, without the names of files, columns and numbers that differ from table to table."""
    head, double, _ = found.partition("columns of one name")
    return " ".join(re.sub(r"\S*/\S*|'[^']*'|\d+|\(.*", "", head + double, flags=re.DOTALL).split()[:6])


def run(examples: int, seed: int) -> dict[str, Any]:
    """Every property; what failed, with the smallest table that does."""
    started = time.perf_counter()
    found: dict[str, Any] = {}
    for name, (_, _, share) in PROPERTIES.items():
        failure = ""
        refused, tried = Counter[str](), 0
        try:
            refused, tried = explore(name, max(1, round(share * examples)), seed)
        except BaseException as error:  # an ExceptionGroup where several properties of one example fail
            if isinstance(error, KeyboardInterrupt):
                raise
            failure = "".join(traceback.format_exception(error))[-3000:]
        found[name] = {"examples": tried, "refused": dict(refused.most_common()), "failure": failure}
        print(name, tried, dict(refused.most_common()), failure, flush=True)
    return {
        "name": NAME,
        **results.origin(),
        "command": f"python benchmarks/fuzz_tables.py --examples {examples} --seed {seed}",
        "seed": seed,
        "examples": sum(one["examples"] for one in found.values()),
        "seconds": round(time.perf_counter() - started, 1),
        "found": found,
    }


def page(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each property."""
    item = found.get(results.file_of(NAME).name)
    if item is None:
        return []
    lines = ["", "## Fuzzing of tables", ""]
    lines += ["Bar: any table is read as it stands, or refused with an error of ours; nothing else is raised.", ""]
    lines += ["| property | tables | of which refused | failed |", "| --- |" + " --- |" * 3]
    for name, one in item["found"].items():
        lines.append(f"| {name} | {one['examples']} | {sum(one['refused'].values())} | {'yes' if one['failure'] else 'no'} |")
    return [*lines, "", f"    {item['command']}", "", f"[json](results/{results.file_of(NAME).name})"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="tables of each of the quick properties")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    result = run(options.examples, options.seed)
    if options.examples >= EXAMPLES:
        results.write(NAME, result)


if __name__ == "__main__":
    main()
