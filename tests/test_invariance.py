"""The central promise: what is said of a row depends on that row alone, to the bit, and one seed gives one run, to the byte.

A table is predicted in chunks; which other rows share a chunk, what they lack, where in it a row stands and how many
threads there are must not show. The same table in another order, in part, or with other rows emptied tells.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consilience import pipeline
from consilience.data.view import View
from consilience.encoders.base import CHUNK
from consilience.predictors.base import Predictor
from consilience.progress import Budget, Silent
from consilience.recipe import make_recipe
from consilience.run import Run, load
from consilience.select import Selection

COUNT = 130
TARGETS = ("three", "two", "number")
COLUMNS = {"photo": ["photo"], "note": ["note"], "tabular": ["age", "dose", "ward"]}
BROKEN = {"photo": ["5.png", "6.png", "gone.png", "", None], "note": ["", "  ", None], "tabular": ["", "?", None, "NaN"]}
"""What a cell may be emptied with; 5 and 6 are broken files."""

Scores = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def answers(trained: Any) -> Callable[..., Scores]:
    """`answers(target, table)`: what every predictor says of each row, and what runs of several of them ship."""
    runs: dict[str, dict[str, Run]] = {}

    def get(target: str, source: pa.Table, rows: np.ndarray | None = None) -> Scores:
        it = trained(target)
        if target not in runs:
            runs[target] = {
                "run": make_run(it, {"fused": 0.25, "scratch": 0.25, "trees": 0.5}),
                "run with fallbacks": make_run(it, {"single.note": 1.0}, "single.photo", "stack"),
            }
        view = it.see(source)
        chosen = np.arange(len(view)) if rows is None else rows
        found = {name: predictor.scores(view, chosen, it.task) for name, predictor in it.predictors.items()}
        return found | {name: run.answer(view, chosen).scores for name, run in runs[target].items()}

    return get


def make_run(it: Any, weights: dict[str, float], *fallback: str) -> Run:
    selection = Selection(weights, fallback, 1.7, "accuracy", {}, ("for the test",))
    return Run(it.recipe, "", it.schema, it.task, it.predictors, selection, it.splits, "")


@pytest.fixture(scope="module")
def base(answers: Any, table: Any) -> Callable[[str], Scores]:
    """What is said of the whole table."""
    made: dict[str, Scores] = {}

    def get(target: str) -> Scores:
        if target not in made:
            made[target] = answers(target, table(COUNT, target))
        return made[target]

    return get


def check(found: Scores, expected: Scores, rows: Any, places: Any = slice(None)) -> None:
    """`found[places]` is what was said of `rows`."""
    for name, scores in found.items():
        wrong = np.flatnonzero((scores[places] != expected[name][rows]).any(1))
        assert not len(wrong), f"{name}: {len(wrong)} of {len(scores[places])} rows changed, such as {wrong[:5].tolist()}"


# (1) Other rows' cells


def emptied(table: Any, target: str, changes: Mapping[tuple[int, str], int]) -> pa.Table:
    """The table with cells of an input emptied: (row, input) -> which way."""
    cells = {name: table(COUNT, target).column(name).to_pylist() for columns in COLUMNS.values() for name in columns}
    for (row, name), way in changes.items():
        for column in COLUMNS[name]:
            cells[column][row] = BROKEN[name][way % len(BROKEN[name])]
    return table(COUNT, target, **cells)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "inputs", [("photo",), ("note",), ("tabular",), ("photo", "note"), ("photo", "note", "tabular")], ids="+".join
)
def test_emptying_cells_of_other_rows_changes_nothing(
    inputs: tuple[str, ...], target: str, answers: Any, base: Any, table: Any
) -> None:
    hit = [row for row in range(COUNT) if row % 3 != 1]
    found = answers(target, emptied(table, target, {(row, name): row for row in hit for name in inputs}))
    kept = np.setdiff1d(np.arange(COUNT), hit)
    check(found, base(target), kept, kept)


@pytest.mark.parametrize("name", COLUMNS)
def test_one_row_that_alone_has_an_input_is_as_it_was(name: str, answers: Any, base: Any, table: Any) -> None:
    kept = 60
    found = answers("three", emptied(table, "three", {(row, name): row for row in range(COUNT) if row != kept}))
    check(found, base("three"), [kept], [kept])


@given(
    changes=st.dictionaries(
        st.tuples(st.integers(0, COUNT - 1), st.sampled_from(sorted(COLUMNS))), st.integers(0, 4), min_size=1, max_size=120
    )
)
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_emptying_any_cells_changes_no_other_row(
    changes: dict[tuple[int, str], int], answers: Any, base: Any, table: Any
) -> None:
    found = answers("three", emptied(table, "three", changes))
    kept = np.setdiff1d(np.arange(COUNT), [row for row, _ in changes])
    check(found, base("three"), kept, kept)


# (2) Order, (3) parts


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_order_of_the_rows_does_not_matter(seed: int, target: str, answers: Any, base: Any, table: Any) -> None:
    order = np.random.default_rng(seed).permutation(COUNT)
    check(answers(target, table(COUNT, target).take(pa.array(order))), base(target), order)
    check(answers(target, table(COUNT, target), order), base(target), order)


@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, CHUNK - 1, CHUNK, CHUNK + 1, 129])
def test_a_part_of_the_table_is_answered_as_the_whole(size: int, answers: Any, base: Any, table: Any) -> None:
    rows = np.sort(np.random.default_rng(size).permutation(COUNT)[:size])
    check(answers("three", table(COUNT).take(pa.array(rows))), base("three"), rows)
    check(answers("three", table(COUNT), rows), base("three"), rows)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("row", [0, 5, 7, 8, 9, 10, 11, 43, 95, 96, 129])
def test_a_row_alone_is_answered_as_among_others(row: int, target: str, answers: Any, base: Any, table: Any) -> None:
    check(answers(target, table(COUNT, target).slice(row, 1)), base(target), [row])


def test_a_row_many_times_is_one_row(answers: Any, base: Any, table: Any) -> None:
    rows = np.repeat([3, 9], COUNT)
    check(answers("three", table(COUNT).take(pa.array(rows))), base("three"), rows)


def test_the_number_of_threads_does_not_matter(answers: Any, base: Any, table: Any) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        found = answers("three", table(COUNT))
    finally:
        torch.set_num_threads(before)
    check(found, base("three"), np.arange(COUNT))


def test_a_store_that_keeps_nothing_changes_nothing(trained: Any, base: Any, table: Any) -> None:
    it = trained("three")
    view: View = it.see(table(COUNT))
    view.store.limit = 1
    found = {name: predictor.scores(view, np.arange(COUNT), it.task) for name, predictor in it.predictors.items()}
    check(found, base("three"), np.arange(COUNT))


# (4) Files, (5) seeds


@pytest.mark.parametrize("target", TARGETS)
def test_a_saved_run_says_the_same(target: str, trained: Any, base: Any, table: Any, media: Path, tmp_path: Path) -> None:
    it = trained(target)
    weighed = [name for name in it.predictors if name != "single.photo"]
    made = make_run(it, dict.fromkeys(weighed, 1 / len(weighed)), "single.photo")
    made = Run(**{**vars(made), "task_kind": "regression" if target == "number" else "classification"})
    again = load(made.save(tmp_path / "run"))
    view = again.view(table(COUNT, target), media)
    found = {name: predictor.scores(view, np.arange(COUNT), again.task) for name, predictor in again.predictors.items()}
    check(found, base(target), np.arange(COUNT))
    expected = made.answer(it.see(table(COUNT, target)), np.arange(COUNT)).scores
    assert np.array_equal(again.answer(view, np.arange(COUNT)).scores, expected)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


WHOLE = ("fused", "concat", "scratch", "linear", "stack", "trees", "single")


def test_one_seed_gives_one_run_in_any_process_and_another_seed_another(
    table: Any, settings: Any, media: Path, tmp_path: Path
) -> None:
    recipe = make_recipe("answer", settings=[settings(*WHOLE, select={"method": "ensemble"})])
    for folder in ("one", "two"):
        pipeline.fit(table(), recipe=recipe, media_root=media).save(tmp_path / folder)
    assert content(tmp_path / "one") == content(tmp_path / "two")

    other = pipeline.fit(table(), recipe=recipe.model_copy(update={"seed": 1}), media_root=media)
    other.save(tmp_path / "other")
    assert content(tmp_path / "other") != content(tmp_path / "one")
    assert other.splits.train.tolist() != load(tmp_path / "one").splits.train.tolist()

    pq.write_table(table(), media / "seed.parquet")
    (tmp_path / "recipe.yaml").write_text(recipe.dump())
    command = [sys.executable, "-c", OTHER_PROCESS, str(media / "seed.parquet"), str(tmp_path / "recipe.yaml"), str(tmp_path)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": "1"})
    assert content(tmp_path / "process") == content(tmp_path / "one")
    said = load(tmp_path / "one").predict_proba(table(), media)
    assert np.array_equal(np.load(tmp_path / "said.npy"), said)


OTHER_PROCESS = """
import sys, numpy, torch
from consilience import pipeline
from consilience.recipe import make_recipe
torch.set_num_threads(1)
source, recipe, folder = sys.argv[1:]
run = pipeline.fit(source, recipe=make_recipe(file=__import__("pathlib").Path(recipe)))
run.save(folder + "/process")
numpy.save(folder + "/said.npy", run.predict_proba(source))
"""


def test_two_fits_are_one(trained: Any, table: Any) -> None:
    it = trained("three")
    for name, predictor in it.predictors.items():
        assert same(it.fit(name, it.see(table())), predictor), name


@pytest.mark.parametrize("name", ["fused", "concat", "scratch", "trees"])
def test_what_draws_at_random_is_another_with_another_seed(name: str, trained: Any) -> None:
    it = trained("three")
    other = pipeline.make_predictors(it.recipe, it.schema)[name]
    rng = pipeline.generator(it.recipe.model_copy(update={"seed": 1}), name)
    other.fit(it.view, it.splits.train, it.splits.valid, it.context, rng, Budget("cpu", Silent()))
    assert not same(other, it.predictors[name])


def same(one: Predictor, other: Predictor) -> bool:
    mine, theirs = one.state(), other.state()
    return mine.json == theirs.json and all(np.array_equal(array, theirs.arrays[name]) for name, array in mine.arrays.items())


# The processor


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "3"])
def test_all_of_it_holds_with_the_instructions_of_an_older_processor(threads: str) -> None:
    """Matrix products are made in other pieces there."""
    older = {
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
    }
    command = [sys.executable, "-m", "pytest", "-m", "not slow", __file__]
    done = subprocess.run(
        command, env={**os.environ, **older, "OMP_NUM_THREADS": threads}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
