"""A model of lists, from the table to the saved run: what it uses, what it says it used, and that a row stands for itself."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from consilience import pipeline
from consilience.cli import main
from consilience.encoders.base import CHUNK
from consilience.recipe import make_recipe
from consilience.run import load


def png() -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (4, 4), "grey").save(buffer, "PNG")
    return buffer.getvalue()


def make_columns(media: Path, rows: int) -> dict[str, pa.Array]:
    """Pictures as bytes and as names, notes, a number; more or fewer of them, and the class of row r is r % 3."""
    rng = np.random.default_rng(3)
    words = ("calm", "fever", "pain")

    def alike(row: int) -> list[int]:
        """Pictures of the same class, one to four; those that are broken among them."""
        return [int(3 * rng.integers(40)) + row % 3 for _ in range(rng.integers(1, 5))]

    shots: list[Any] = [[(media / f"{place}.png").read_bytes() for place in alike(row)] for row in range(rows)]
    files: list[Any] = [[f"{place}.png" for place in alike(row)] for row in range(rows)]
    notes: list[Any] = [
        [f"{words[row % 3]} was noted on day {rng.integers(9)}" for _ in range(rng.integers(1, 11))] for row in range(rows)
    ]
    shots[0], files[0], notes[0] = [png(), b"broken"], ["gone.png", "0.png"], ["calm"] * 9
    shots[1], files[1], notes[1] = [], ["gone.png", "gone.png"], [None, ""]
    shots[2], files[2], notes[2] = None, [None], []
    age = [f"{40 + 10 * (row % 3) + 8 * rng.normal():.1f}" if row != 1 else None for row in range(rows)]
    return {
        "shots": pa.array(shots, pa.list_(pa.binary())),
        "files": pa.array(files, pa.list_(pa.string())),
        "notes": pa.array(notes, pa.list_(pa.string())),
        "age": pa.array(age, pa.string()),
        "answer": pa.array([words[row % 3] for row in range(rows)]),
    }


COUNT = CHUNK + 12  # two chunks


@pytest.fixture(scope="module")
def lists(media: Path) -> pa.Table:
    return pa.table(make_columns(media, COUNT))


@pytest.fixture(scope="module")
def fitted(lists: pa.Table, prepare: Callable[..., Any], settings: Callable[..., dict[str, Any]]) -> Any:
    """Predictors of frozen and of trained encoders, fitted on the table of lists."""
    it = prepare(lists.slice(0, 60), settings("scratch", "linear", "trees"))
    for name in it.predictors:
        it.predictors[name] = it.fit(name)
    return it


@pytest.fixture(scope="module")
def base(fitted: Any, lists: pa.Table) -> dict[str, np.ndarray]:
    view = fitted.see(lists)
    return {name: predictor.scores(view, np.arange(COUNT), fitted.task) for name, predictor in fitted.predictors.items()}


def check(fitted: Any, base: dict[str, np.ndarray], table: pa.Table, places: np.ndarray, rows: np.ndarray) -> None:
    """What is said of `places` of `table` is what was said of `rows`, to the bit."""
    view = fitted.see(table)
    for name, predictor in fitted.predictors.items():
        found = predictor.scores(view, np.arange(len(view)), fitted.task)[places]
        assert np.array_equal(found, base[name][rows]), name


def test_the_lists_are_what_the_predictors_see(fitted: Any, lists: pa.Table) -> None:
    assert [(item.name, item.modality, item.many) for item in fitted.schema.inputs] == [
        ("shots", "image", True),
        ("files", "image", True),
        ("notes", "text", True),
        ("age", "tabular", False),
    ]
    assert set(fitted.predictors["trees"].columns) == {"age"}


@pytest.mark.parametrize("way", ["emptied", "broken", "longer"])
def test_the_lists_of_other_rows_change_nothing(way: str, fitted: Any, base: Any, lists: pa.Table) -> None:
    change: dict[str, Callable[[str, int], Any]] = {
        "emptied": lambda name, row: None if row % 2 else [],
        "broken": lambda name, row: [b"x"] if name == "shots" else ["gone.png"] if name == "files" else [" "],
        "longer": lambda name, row: [item for item in (lists.column(name)[row].as_py() or []) for _ in range(3)],
    }
    hit = [row for row in range(COUNT) if row % 3 != 1]
    changed = lists
    for name in ("shots", "files", "notes"):
        cells = lists.column(name).to_pylist()
        for row in hit:
            cells[row] = change[way](name, row)
        changed = changed.set_column(changed.schema.get_field_index(name), name, pa.array(cells, lists.column(name).type))
    kept = np.setdiff1d(np.arange(COUNT), hit)
    check(fitted, base, changed, kept, kept)


def test_order_and_part_of_the_table_change_nothing(fitted: Any, base: Any, lists: pa.Table) -> None:
    order = np.random.default_rng(0).permutation(COUNT)
    check(fitted, base, lists.take(pa.array(order)), np.arange(COUNT), order)
    check(fitted, base, lists.slice(7, 1), np.array([0]), np.array([7]))


def test_every_item_is_of_use(fitted: Any, lists: pa.Table) -> None:
    """One item more, and the answer of the row is another."""
    cells = lists.column("notes").to_pylist()
    cells[4] = ["calm was noted", "fever was noted"]
    changed = lists.set_column(2, "notes", pa.array(cells))
    cells[4] = ["calm was noted"]
    shorter = lists.set_column(2, "notes", pa.array(cells))
    for name, predictor in fitted.predictors.items():
        if name != "trees":  # which may end in the same leaves
            one, two = (predictor.scores(fitted.see(table), np.array([4]), fitted.task) for table in (changed, shorter))
            assert not np.array_equal(one, two), name


def test_the_command_trains_saves_and_predicts_and_says_what_it_used(
    lists: pa.Table, media: Path, settings: Callable[..., dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(lists, tmp_path / "lists.parquet")
    recipe = make_recipe("answer", settings=[settings("linear", select={"only": "linear"}, refit=False)])
    (tmp_path / "recipe.yaml").write_text(recipe.dump())
    source, out, answers = (str(tmp_path / name) for name in ("lists.parquet", "run", "answers.parquet"))
    for arguments in (
        ["train", source, "--recipe", str(tmp_path / "recipe.yaml"), "--out", out],
        ["predict", out, source, "--out", answers],
        ["inspect", source],
    ):
        monkey = pytest.MonkeyPatch()
        monkey.setattr("sys.argv", ["consilience", *arguments, "--media-root", str(media)])
        with pytest.raises(SystemExit) as done:
            main()
        monkey.undo()
        assert not done.value.code
    assert "lists of 1 to 4 items; item by item: 100% of" in capsys.readouterr().out
    schema = json.loads((tmp_path / "run" / "schema.json").read_text())
    assert [item["many"] for item in schema["inputs"]] == [True, True, True, False]

    found = pq.read_table(answers).to_pylist()
    assert [row["row"] for row in found] == list(range(COUNT))
    assert [row["used"] for row in found[:4]] == ["shots,files,notes,age", "", "age", "shots,files,notes,age"]
    assert found[0]["reasons"] == (
        "shots: items that could not be read: not an image; files: items that could not be read: file not found; "
        "notes: only the first 8 items read"
    )
    assert found[1]["reasons"] == (
        "shots: empty; files: file not found; notes: empty; age: empty; no input present: the training prior"
    )
    assert found[2]["reasons"] == "shots: empty; files: empty; notes: empty"

    again = load(out)
    assert again.schema["shots"].many and not again.schema["age"].many
    names = [name for name in lists.column_names if name.startswith("prob")]
    said = again.predictions(lists, media)
    assert said.select(names).equals(pq.read_table(answers).select(names))


def test_a_csv_of_lists_says_what_the_parquet_says(
    lists: pa.Table, media: Path, settings: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    kept = lists.select(["files", "notes", "answer"]).slice(0, 40)
    written = {
        "files": [";".join(filter(None, cell)) for cell in kept.column("files").to_pylist()],
        "notes": [json.dumps(cell) for cell in kept.column("notes").to_pylist()],
        "answer": kept.column("answer").to_pylist(),
    }
    pacsv.write_csv(pa.table(written), tmp_path / "lists.csv")
    recipe = make_recipe("answer", settings=[settings("linear", refit=False)])
    one = pipeline.fit(kept, recipe=recipe, media_root=media)
    two = pipeline.fit(tmp_path / "lists.csv", recipe=recipe, media_root=media)
    assert one.schema.inputs == two.schema.inputs
    assert np.array_equal(one.predict_proba(kept, media), two.predict_proba(tmp_path / "lists.csv", media))
