"""The run: what training leaves behind, in memory and as a folder that is read without executing anything.

    run.json  recipe.yaml  schema.json  task.json  splits.parquet  selection.json  metrics.json  log.jsonl
    predictors/<name>/<fold>/{config.json, state.safetensors}

Nothing in it depends on the clock or the machine's paths, so two trainings with one seed leave identical files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import yaml

from consilience import component
from consilience.data.schema import check_columns
from consilience.data.split import Splits
from consilience.data.store import Store
from consilience.data.table import read_table
from consilience.data.view import View
from consilience.errors import ConsilienceError, fail
from consilience.files import check_free, read_json, replacing, write_json
from consilience.metrics import Estimate, bootstrap
from consilience.predictors.base import DAMAGE, Predictor
from consilience.recipe import Recipe, validate
from consilience.select import Answer, Selection, answer, restore_selection
from consilience.tasks.base import Task, is_text
from consilience.types import Cell, ColumnRole, Input, Schema, State

LONGEST = 100
"""Letters of a folder's name, beyond which it is cut."""

BATCH = 1 << 14
"""Rows that are predicted before their answers are handed on."""

FORMAT = 2
"""Version of the folder. Raised when an older reader could not open a new run."""

READ = (1, FORMAT)
"""Versions that are opened. In the first, every predictor held all of its arrays."""

Metrics = Mapping[str, Mapping[str, Estimate]]
"""Part -> metric -> estimate."""


@dataclass(frozen=True, eq=False)
class Run:
    """A trained model with everything that it takes to answer, and to say where its answers come from."""

    recipe: Recipe
    task_kind: str
    schema: Schema
    task: Task
    predictors: Mapping[str, Predictor]
    selection: Selection
    splits: Splits
    table_digest: str
    metrics: Metrics = field(default_factory=dict)
    log: Sequence[Mapping[str, Any]] = ()
    interrupted: bool = False  # a person ended its training: the same seed would not give it again

    def view(self, source: Any, media_root: Path | str | None = None, *, target: bool = False) -> View:
        """A table seen through the run's schema. Raises ConsilienceError where columns are missing."""
        table = read_table(source, media_root)
        check_columns(self.schema, table, target=target)
        return View(table, self.schema, Store(), self.recipe.limit, self.recipe.weight)

    def answer(self, view: View, rows: np.ndarray) -> Answer:
        """Scores and what they rest on, for rows of a view."""
        return answer(self.selection, self.predictors, view, rows, self.task)

    def predict(self, source: Any, media_root: Path | str | None = None) -> list[Cell]:
        """One answer per row of the table, in its order."""
        view = self.view(source, media_root)
        return self.task.decode(self.answer(view, np.arange(len(view))).scores)

    def predict_proba(self, source: Any, media_root: Path | str | None = None) -> np.ndarray:
        """[R, C] probabilities of the task's classes or labels, in their order. Raises ConsilienceError where it has none."""
        view = self.view(source, media_root)
        columns = self.task.columns(self.answer(view, np.arange(len(view))).scores)
        if not columns:
            raise fail(f"the task is {self.task.describe()}", "a task with classes", "use predict")
        return np.stack(list(columns.values()), axis=1)

    def predictions(self, source: Any, media_root: Path | str | None = None) -> pa.Table:
        """row, prediction, probability_<class>..., used, reasons: one row per row of the table, in its order.

        `used` names the inputs that took part; `reasons` says why an input did not, or what was cut in it. A row without
        any input is answered by the training prior: its `used` is empty.
        """
        return pa.Table.from_batches(self.prediction_batches(source, media_root))

    def prediction_batches(self, source: Any, media_root: Path | str | None = None) -> Iterator[pa.RecordBatch]:
        """`predictions`, some rows at a time, for tables that are large."""
        view = self.view(source, media_root)
        schema: pa.Schema | None = None
        for start in range(0, len(view), BATCH):
            rows = np.arange(start, min(start + BATCH, len(view)))
            answered = self.answer(view, rows)
            used = np.stack([answered.used[name] for name in view.schema.names], axis=1)
            columns = {
                "row": pa.array(rows),
                "prediction": _column(self.task.decode(answered.scores)),
                **{name: pa.array(values) for name, values in self.task.columns(answered.scores).items()},
                "used": _written(used, lambda row, used=used: ",".join(np.array(view.schema.names)[used[row]])),
                "reasons": _written(
                    np.column_stack([used.any(1), view.told(rows)]),
                    lambda row, rows=rows, used=used: "; ".join(_reasons(view, int(rows[row]), bool(used[row].any()))),
                ),
            }
            batch = pa.record_batch(columns)
            schema = schema or batch.schema
            yield batch if batch.schema == schema else batch.cast(schema)

    def evaluate(self, source: Any, media_root: Path | str | None = None) -> dict[str, Estimate]:
        """Every metric of the task on a table that has the target, with 95% bootstrap intervals (of groups where known).

        Rows with an empty target are not scored where the recipe says split.unlabelled=exclude, and an error otherwise.
        """
        view = self.view(source, media_root, target=True)
        assert self.schema.target is not None
        rows = np.flatnonzero(view.table.filled(self.schema.target))
        if len(rows) < len(view) and (self.recipe.split.unlabelled == "error" or not len(rows)):
            raise fail(
                f"{len(view) - len(rows)} of {len(view)} rows have an empty target",
                "a target in every row that is scored",
                "fill them, or remove these rows",
            )
        return self.estimate(view, rows)

    def estimate(self, view: View, rows: np.ndarray) -> dict[str, Estimate]:
        """Every metric on `rows` of a view, with intervals."""
        return estimate(self.task, self.answer(view, rows).scores, view, rows, self.recipe.seed)

    def save(self, folder: Path | str, *, overwrite: bool = False) -> Path:
        """Write the run, whole or not at all. Raises ConsilienceError as `check_place` does."""
        folder = Path(folder)
        check_place(folder, overwrite)
        with replacing(folder, overwrite) as part:
            part.mkdir()
            (part / "recipe.yaml").write_text(self.recipe.dump(), encoding="utf-8")
            write_json(part / "schema.json", asdict(self.schema))
            write_json(part / "task.json", {"kind": self.task_kind, "state": self.task.state().json})
            _write_splits(self.splits, part / "splits.parquet")
            for name in self.selection.needed:
                self.predictors[name].save(part / "predictors" / _folder(name) / "0", part / "arrays")
            write_json(part / "selection.json", asdict(self.selection))
            write_json(part / "metrics.json", _plain(self.metrics))
            (part / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in self.log), encoding="utf-8")
            kinds = {name: _predictor_kind(self.recipe, name) for name in self.selection.needed}
            head = {"format": FORMAT, "consilience": version(), "predictors": kinds, "table": self.table_digest}
            write_json(part / "run.json", head | ({"interrupted": True} if self.interrupted else {}))
        return folder


def check_place(folder: Path, overwrite: bool) -> None:
    """Raise ConsilienceError where a run cannot go: something is there, and `overwrite` is not said or it is no run.

    To overwrite is to delete what was there, so that a mistyped --out must not cost a person's own files.
    """
    check_free(folder, overwrite)
    if folder.exists() and not (folder / "run.json").is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise fail(f"{folder} exists and is no run", "a free path, an empty folder or a run", "choose another path")


def estimate(task: Task, scores: np.ndarray, view: View, rows: np.ndarray, seed: int) -> dict[str, Estimate]:
    """Every metric of scores [R, C] on `rows`, with bootstrap intervals."""
    measure = task.measure(scores, task.encode(view.target(rows)))
    weight = view.weight(rows)
    return bootstrap(lambda counts: measure(counts * weight), len(rows), np.random.default_rng(seed), view.groups(rows))


def load(folder: Path | str) -> Run:
    """Open a run folder. Nothing in it is executed; raises ConsilienceError where it is not a sound run."""
    folder = Path(folder)
    if not (folder / "run.json").is_file():
        raise fail(f"{folder} is no run", "a folder that `consilience train --out` left behind", "check the path")
    head = read_json(folder / "run.json")
    if head.get("format") not in READ:
        raise fail(
            f"{folder} has the format {head.get('format')}", f"format {FORMAT}", "open it with the version that wrote it"
        )
    try:
        return _load(folder, head)
    except ConsilienceError:
        raise
    except DAMAGE as error:
        raise fail(f"{folder} is damaged: {' '.join(str(error).split())}", "a run as it was saved", "train again") from error


def _load(folder: Path, head: Mapping[str, Any]) -> Run:
    recipe = validate(_read_yaml(folder / "recipe.yaml"))
    schema = _schema(read_json(folder / "schema.json"), folder)
    described = read_json(folder / "task.json")
    kind = described.get("kind")
    if not isinstance(kind, str):
        raise fail(f"{folder / 'task.json'} is damaged: it names no task", "the run's task", "train again")
    cls = component.find("tasks", kind)
    task = cls(config=recipe.task.config if recipe.task else cls.Config())  # type: ignore[attr-defined]
    task.restore(State(described.get("state", {})))
    predictors = {
        name: component.find("predictors", str(sort)).load(  # type: ignore[attr-defined]
            folder / "predictors" / _folder(name) / "0", folder / "arrays", schema, task
        )
        for name, sort in dict(head.get("predictors", {})).items()
    }
    selection = restore_selection(read_json(folder / "selection.json"))
    if set(selection.needed) - set(predictors):
        raise fail(f"{folder} lacks predictors that its selection needs", "a complete run", "take an undamaged copy")
    saved = read_json(folder / "metrics.json")
    metrics = {part: {name: Estimate(**_numbers(value)) for name, value in values.items()} for part, values in saved.items()}
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    splits = _read_splits(folder / "splits.parquet")
    interrupted = head.get("interrupted") is True
    digest = str(head.get("table", ""))
    return Run(recipe, kind, schema, task, predictors, selection, splits, digest, metrics, log, interrupted)


def write_predictions(batches: Iterable[pa.RecordBatch], path: Path, overwrite: bool) -> int:
    """Write what `Run.prediction_batches` gives to a `.csv` or `.parquet` file, whole or not at all; the number of rows.

    A CSV has no lists: there they are JSON, as a target column of a CSV may hold them.
    """
    plain = map(_without_lists, batches) if path.suffix == ".csv" else iter(batches)
    first = next(plain)
    rows, writer = 0, pacsv.CSVWriter if path.suffix == ".csv" else pq.ParquetWriter
    with replacing(path, overwrite) as part, writer(str(part), first.schema) as file:
        for batch in chain((first,), plain):
            file.write_batch(batch)
            rows += batch.num_rows
    return rows


def _without_lists(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        texts = (
            [json.dumps(cell, ensure_ascii=False) for cell in column.to_pylist()] if pa.types.is_list(column.type) else column
        )
        columns[name] = pa.array(texts)
    return pa.record_batch(columns)


def _column(answers: list[Cell]) -> pa.Array:
    """Answers as a column; lists that are all empty are lists of texts, for a file must say of what."""
    made = pa.array(answers)
    return made.cast(pa.list_(pa.string())) if made.type == pa.list_(pa.null()) else made


def _written(keys: np.ndarray, write: Callable[[int], str]) -> pa.Array:
    """A text for each row of keys [R, K]; equal keys have one text, which is written once."""
    _, first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return pa.array([write(int(row)) for row in first], pa.string()).take(pa.array(which.ravel()))


def _reasons(view: View, row: int, answered: bool) -> list[str]:
    found = []
    for name in view.schema.names:
        reason = view.reasons(name, np.array([row]))[0]
        found += [f"{name}: {text}" for text in ([reason] if reason else view.notes(name, row))]
    return found if answered else [*found, "no input present: the training prior"]


def _predictor_kind(recipe: Recipe, name: str) -> str:
    """The kind of a predictor by its name, which is that of its entry in the recipe, or starts with it and a dot."""
    entries = [entry for entry in recipe.predictors if name == entry or name.startswith(f"{entry}.")]
    return recipe.predictors[max(entries, key=len)].kind


def version() -> str:
    import consilience

    return consilience.__version__


def _plain(metrics: Metrics) -> dict[str, Any]:
    return {part: {name: asdict(value) for name, value in values.items()} for part, values in metrics.items()}


def _numbers(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: float("nan") if item is None else item for key, item in value.items()}


def _write_splits(splits: Splits, path: Path) -> None:
    rows = np.concatenate([splits.train, splits.valid, splits.test])
    parts = ["train"] * len(splits.train) + ["valid"] * len(splits.valid) + ["test"] * len(splits.test)
    order = np.argsort(rows, kind="stable")
    table = pa.table({"row": rows[order], "part": pa.array(parts).take(pa.array(order))})
    pq.write_table(table.replace_schema_metadata({"notes": json.dumps(splits.notes)}), path)


def _read_splits(path: Path) -> Splits:
    try:
        table = pq.read_table(path)
        notes = tuple(json.loads((table.schema.metadata or {}).get(b"notes", b"[]")))
        rows, parts = table.column("row").to_numpy(), np.array(table.column("part").to_pylist())
    except (OSError, pa.ArrowInvalid, KeyError, ValueError) as error:
        raise fail(f"{path} is damaged: {error}", "rows and parts", "train the run again") from None
    return Splits(rows[parts == "train"], rows[parts == "valid"], rows[parts == "test"], notes)


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise fail(f"{path} cannot be read: {' '.join(str(error).split())}", "the run's recipe", "train again") from None
    if not isinstance(tree, dict):
        raise fail(f"{path} holds no mapping", "the run's recipe", "train again")
    return tree


def _schema(value: Mapping[str, Any], folder: Path) -> Schema:
    try:
        inputs = tuple(
            Input(
                str(item["name"]),
                str(item["modality"]),
                tuple(item["columns"]),
                tuple(item["kinds"]),
                item.get("many", False) is True,
            )
            for item in value["inputs"]
        )
        notes = tuple(ColumnRole(**item) for item in value["columns"])
        names = [value["target"] or "", *(column for item in inputs for column in (*item.columns, *item.kinds))]
        names += [word for note in notes for word in (note.column, note.role, note.reason, note.input)]
        if not all(map(is_text, names)):
            raise ValueError("a name that is no text")
        if len({item.name for item in inputs}) < len(inputs) or any(
            not 0 < len(item.columns) == len(item.kinds) for item in inputs
        ):
            raise ValueError("two inputs of one name, or an input without columns, or without a kind for each")
        return Schema(value["target"], inputs, notes)
    except (KeyError, TypeError, ValueError) as error:
        raise fail(f"{folder / 'schema.json'} is damaged: {error}", "the run's schema", "train again") from None


def _folder(name: str) -> str:
    """A folder for the predictor `name`, in which the name of a column may stand: with slashes, with hundreds of letters."""
    safe = re.sub(r"^\.", "%2E", quote(name, safe=" "))
    return safe if len(safe) <= LONGEST else f"{safe[:LONGEST]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
