"""The story of a run: what is checked before anything is trained, what is trained, and what is left to the test part."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from consilience import pipeline
from consilience.data.store import Store
from consilience.data.table import read_table
from consilience.data.view import View
from consilience.errors import ConsilienceError
from consilience.pipeline import device, fit, generator, make_task
from consilience.predictors import linear, trees
from consilience.predictors.base import Context
from consilience.progress import Advance, Silent
from consilience.recipe import make_recipe
from consilience.run import Run, load
from consilience.types import Limits


class Told(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def bar(self, label: str, total: int) -> AbstractContextManager[Advance]:
        return super().bar(label, total)


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be trained."""
    monkeypatch.setattr(linear.Linear, "fit", lambda *_: pytest.fail("trained before all was checked"))
    monkeypatch.setattr(trees.Trees, "fit", lambda *_: pytest.fail("trained before all was checked"))


def problems(*args: Any, **options: Any) -> list[str]:
    with pytest.raises(ConsilienceError) as caught:
        fit(*args, **options)
    return [problem.found for problem in caught.value.problems]


# Before training


@pytest.mark.usefixtures("never")
def test_what_is_wrong_is_said_before_anything_is_trained(table: Any, settings: Any, media: Path) -> None:
    def wrong(source: Any = None, target: str | None = "answer", /, test: Any = None, **more: Any) -> list[str]:
        source = table() if source is None else source
        return problems(source, target, settings=[settings("linear", "trees", **more)], media_root=media, test=test)

    assert wrong(table(), None) == ["no target is named"]
    assert wrong(table(), "anser") == ["target names the column 'anser'"]
    assert wrong(table(answer=[None] * 120)) == ["the target 'answer' is empty in every row"]
    assert wrong(table(answer=["x"] * 120)) == ["the target has one class only in the training rows: 'x'"]
    assert wrong(table(answer=["1"] * 119 + [None])) == ["1 of 120 rows have an empty target"]
    assert wrong(metric="acuracy") == ["the metric is 'acuracy'"]
    assert wrong(metric="rmse") == ["the metric is 'rmse'"]
    assert wrong(select={"only": "tree"}) == ["select.only names the predictor 'tree'"]
    assert wrong(table(w=["0"] * 120), weight="w") == [
        f"{part} part: every row has the weight 0" for part in ("train", "valid", "test")
    ]
    assert wrong(table(w=["x"] * 120), weight="w") == ["the weight column 'w' has 84 cells that are no weight"]
    twin = settings("single", "linear")
    twin["predictors"]["single.note"] = twin["predictors"]["linear"] | {"kind": "linear"}
    assert problems(table(), "answer", settings=[twin], media_root=media) == ["two predictors are named 'single.note'"]
    assert wrong(device="cuda:77")[0].startswith("the device 'cuda:77' cannot be used")
    assert wrong(task={"kind": "regression"})[0].startswith("84 of 84 target cells are no finite numbers")
    assert wrong(split={"column": "ward"})[0].startswith("120 cells of the split column name no part: 'east'")
    with pytest.raises(ConsilienceError, match="a whole Recipe is given"):
        fit(table(), "answer", recipe=make_recipe("answer"))


@pytest.mark.usefixtures("never")
def test_labels_that_training_has_not_are_named_for_each_part_and_with_the_metric(
    table: Any, settings: Any, columns: Any
) -> None:
    answer, part = columns()["answer"], ["train"] * 80 + ["valid"] * 20 + ["test"] * 20
    answer[85], answer[110], answer[111] = "panic", "panic", "grief"
    found = problems(
        table(answer=answer, part=part), "answer", settings=[settings("linear", metric="nope", split={"column": "part"})]
    )
    assert found == [
        "the metric is 'nope'",
        "valid part: 1 of 20 target cells hold labels without training rows: 'panic'",
        "test part: 2 of 20 target cells hold labels without training rows: 'grief', 'panic'",
    ]


@pytest.mark.usefixtures("never")
def test_a_group_on_both_sides_is_named(table: Any, settings: Any) -> None:
    person, part = [f"p{row % 40}" for row in range(120)], ["train"] * 80 + ["valid"] * 20 + ["test"] * 20
    found = problems(
        table(person=person, part=part), "answer", settings=[settings("linear", split={"column": "part", "group": "person"})]
    )
    assert found[0].startswith("20 groups stand both in train and in valid: p0, p1")


# Parts


def parts(run: Run) -> list[int]:
    return [len(run.splits.train), len(run.splits.valid), len(run.splits.test)]


def test_a_separate_table_is_the_test_part(table: Any, settings: Any, media: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    pacsv.write_csv(table(130).slice(100), other)
    run = fit(table(100), "answer", settings=[settings("linear")], test=other, media_root=media)
    assert run.splits.test.tolist() == list(range(100, 130))
    assert "the separate table's 30 rows are the test part" in run.splits.notes
    assert run.metrics["test"]["accuracy"].n == 30
    again = fit(table(100), "answer", settings=[settings("linear")], test=table(130).slice(100), media_root=media)
    assert again.metrics == run.metrics
    assert run.evaluate(table(130).slice(100), media) == run.metrics["test"]


def test_a_separate_table_must_fit(table: Any, settings: Any, media: Path) -> None:
    test = table(20).rename_columns(["photo", "notes", "age", "dose", "ward", "answer"])
    assert problems(table(), "answer", settings=[settings("linear")], test=test, media_root=media) == [
        "the table has no column 'note'"
    ]


def test_a_split_column_a_group_and_no_test_part(table: Any, settings: Any, media: Path) -> None:
    part = ["train"] * 80 + ["dev"] * 30 + ["test"] * 10
    run = fit(table(split=part), "answer", settings=[settings("linear")], media_root=media)
    assert parts(run) == [80, 30, 10]
    assert run.schema.role("split") == "split"
    run = fit(table(), "answer", settings=[settings("linear", split={"test": 0})], media_root=media)
    assert parts(run) == [102, 18, 0]
    assert set(run.metrics) == {"valid"}
    person = [f"p{row % 20}" for row in range(120)]
    run = fit(table(person=person), "answer", settings=[settings("linear", split={"group": "person"})], media_root=media)
    sides = [{person[row] for row in rows} for rows in (run.splits.train, run.splits.valid, run.splits.test)]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])


def test_rows_without_a_target_are_left_out_where_the_recipe_says_so(
    table: Any, settings: Any, columns: Any, media: Path
) -> None:
    answer = columns()["answer"]
    answer[3] = answer[50] = None
    run = fit(table(answer=answer), "answer", settings=[settings("linear", split={"unlabelled": "exclude"})], media_root=media)
    assert sum(parts(run)) == 118
    assert not {3, 50} & {*run.splits.train.tolist(), *run.splits.valid.tolist(), *run.splits.test.tolist()}


# Training


def fits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """(predictor, training rows, validation rows) of every fit from now on."""
    seen: list[tuple[str, int, int]] = []
    for cls in (linear.Linear, trees.Trees):
        original = cls.fit

        def spy(self: Any, view: Any, train: Any, valid: Any, *rest: Any, original: Any = original) -> None:
            seen.append((type(self).__name__, len(train), -1 if valid is None else len(valid)))
            original(self, view, train, valid, *rest)

        monkeypatch.setattr(cls, "fit", spy)
    return seen


def test_all_are_trained_and_the_chosen_ones_again_on_train_and_valid(
    table: Any, settings: Any, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = fits(monkeypatch)
    run = fit(table(), "answer", settings=[settings("linear", "trees", select={"method": "best"})], media_root=media)
    (chosen,) = run.selection.needed
    assert seen == [("Linear", 84, 18), ("Trees", 84, 18), (chosen.capitalize(), 102, -1)]
    assert set(run.predictors) == {chosen}
    seen.clear()
    fit(table(), "answer", settings=[settings("linear", refit=False)], media_root=media)
    assert seen == [("Linear", 84, 18)]


def test_only_trains_only_what_it_names(table: Any, settings: Any, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = fits(monkeypatch)
    run = fit(
        table(), "answer", settings=[settings("linear", "trees", select={"only": "trees"}, refit=False)], media_root=media
    )
    assert seen == [("Trees", 84, 18)]
    assert run.selection.weights == {"trees": 1.0}
    assert list(run.selection.valid) == ["trees"]
    run = fit(table(), "answer", settings=[settings("single", select={"only": "single.note"}, refit=False)], media_root=media)
    assert list(run.predictors) == ["single.note"]


def test_test_rows_are_never_learned_from(table: Any, settings: Any, columns: Any, media: Path) -> None:
    """Other answers and cells in the test rows leave the shipped run as it is."""
    recipe = settings("concat", "linear", "trees", select={"method": "ensemble"})
    base = fit(table(), "answer", settings=[recipe], media_root=media)
    part = ["test" if row in base.splits.test else "valid" if row in base.splits.valid else "train" for row in range(120)]
    cells = columns()
    for row in base.splits.test:
        cells["note"][row], cells["age"][row], cells["answer"][row], cells["photo"][row] = "nothing", "-99", "calm", None
    tables = (table(part=part), table(part=part, **{name: cells[name] for name in ("note", "age", "answer", "photo")}))
    one, other = (fit(it, "answer", settings=[recipe | {"split": {"column": "part"}}], media_root=media) for it in tables)
    assert one.selection == other.selection
    assert np.array_equal(one.predict_proba(table(), media), other.predict_proba(table(), media))
    assert one.metrics["valid"] == other.metrics["valid"]
    assert one.metrics["test"] != other.metrics["test"]


@pytest.mark.parametrize("name", ["concat", "scratch", "trees", "linear"])
def test_a_predictor_does_not_depend_on_which_others_are_trained(name: str, table: Any, settings: Any, media: Path) -> None:
    only = {"only": name}
    alone = fit(table(), "answer", settings=[settings(name, select=only, refit=False)], media_root=media)
    recipe = settings("fused", "stack", name, refit=False, select={"method": "best"})
    # A second network with the same encoders, trained before it.
    recipe["predictors"] = {
        "before": recipe["predictors"][name] | {"kind": recipe["predictors"][name].get("kind", name)}
    } | recipe["predictors"]
    among = fit(table(), "answer", settings=[recipe], media_root=media)
    assert among.selection.valid[name] == alone.selection.valid[name]
    history = [[line for line in run.log if line["predictor"] == name] for run in (alone, among)]
    assert history[0] == history[1]


# What is left


def test_an_ensemble_a_threshold_and_metrics(table: Any, settings: Any, media: Path) -> None:
    recipe = settings("fused", "linear", "trees", "single", select={"method": "ensemble"}, metric="balanced_accuracy")
    run = fit(table(target="two"), "answer", settings=[recipe], media_root=media)
    assert sum(run.selection.weights.values()) == pytest.approx(1)
    assert set(run.predictors) == set(run.selection.needed)
    assert run.selection.temperature != 1.0
    assert run.selection.metric == "balanced_accuracy"
    assert 0 < run.task.state().json["threshold"] < 1
    assert set(run.metrics) == {"valid", "test"}
    assert set(run.metrics["test"]) == {
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "f1",
        "roc_auc",
        "pr_auc",
        "log_loss",
        "ece",
    }
    for estimate in run.metrics["test"].values():
        assert estimate.n == 18
    assert set(run.selection.valid) == {"fused", "linear", "trees", "single.photo", "single.note", "single.tabular"}
    first = [line for line in run.log if "valid" in line]
    assert [line["predictor"] for line in first] == list(run.selection.valid)
    epochs = [line for line in run.log if "epoch" in line]
    assert [(line["predictor"], line["epoch"]) for line in epochs] == [("fused", 1), ("fused", 2)]
    assert run.selection.valid["fused"] in [line["metric"] for line in epochs]


def test_errors_in_the_log_are_positive(table: Any, settings: Any, media: Path) -> None:
    run = fit(table(target="number"), "answer", settings=[settings("fused")], media_root=media)
    assert run.selection.metric == "rmse"
    assert all(line["metric"] > 0 for line in run.log if "epoch" in line)
    assert run.selection.valid["fused"] == min(line["metric"] for line in run.log if "epoch" in line)


def test_files_and_tables_are_one(table: Any, settings: Any, media: Path) -> None:
    source = table()
    pacsv.write_csv(source, media / "table.csv")
    pq.write_table(source, media / "table.parquet")
    recipe = settings("linear", "trees")
    runs = [fit(it, "answer", settings=[recipe]) for it in (media / "table.csv", str(media / "table.parquet"))]
    runs.append(fit(source, "answer", settings=[recipe], media_root=media))
    assert runs[1].table_digest == runs[2].table_digest != runs[0].table_digest  # an empty cell of a CSV is null
    assert runs[0].metrics == runs[1].metrics == runs[2].metrics
    assert np.array_equal(runs[0].predict_proba(media / "table.csv"), runs[2].predict_proba(source, media))


def test_the_plan_counts_what_is_missing(table: Any, settings: Any, media: Path) -> None:
    told = Told()
    fit(table(), "answer", settings=[settings("linear")], media_root=media, progress=told)
    assert told.lines[0] == "120 rows of the table; classification into 3 classes (calm, fever, pain)"
    assert told.lines[1] == "parts: train 84, valid 18, test 18"
    photo = next(line for line in told.lines if line.startswith("input photo"))
    assert photo.startswith("input photo (image, photo): empty: 2, ")
    for counted in ("not an image: 1", "truncated: 1", "file not found: 1"):
        assert counted in photo
    assert "input note (text, note): empty: 2" in told.lines
    assert told.lines[-2:] == ["  trained linear", "  refitted linear on train and valid"]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["a", "b"] * 20, "classification"),
        (["1", "2"] * 20, "classification"),
        ([f"{row / 7:.3f}" for row in range(40)], "regression"),
        ([str(row) for row in range(40)], "regression"),
        ([*map(str, range(39)), "x"], "classification"),
    ],
)
def test_the_task_is_told_from_the_target(cells: list[str], kind: str, prepare: Any, settings: Any) -> None:
    notes = [f"some words and number {row} too" for row in range(40)]
    it = prepare(pa.table({"note": notes, "answer": ["a", "b"] * 20}), settings("linear"))
    other = View(read_table({"note": notes, "answer": cells}), it.view.schema, Store(), Limits())
    assert make_task(it.recipe, other)[0] == kind


def test_every_purpose_has_a_generator_of_its_own() -> None:
    recipe = make_recipe("answer")
    drawn = {
        (seed, name): float(generator(recipe.model_copy(update={"seed": seed}), name).random())
        for seed in (0, 1)
        for name in "ab"
    }
    assert len(set(drawn.values())) == 4
    assert drawn[0, "a"] == float(generator(recipe, "a").random())


def test_the_device() -> None:
    assert device("cpu") == "cpu"
    assert re.fullmatch("cpu|cuda|mps", device("auto"))
    assert pipeline.__all__ == ["fit", "inspect", "load"]


# Interrupts


def interrupt(monkeypatch: pytest.MonkeyPatch, predictor: type, call: int) -> None:
    """The predictor's `fit` is interrupted when it is called the n-th time."""
    calls = iter(range(1, 100))
    fit = predictor.fit  # type: ignore[attr-defined]

    def stopped(self: Any, *args: Any) -> None:
        if next(calls) == call:
            raise KeyboardInterrupt
        fit(self, *args)

    monkeypatch.setattr(predictor, "fit", stopped)


def test_an_interrupt_keeps_what_is_trained(
    table: Any, settings: Any, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(monkeypatch, trees.Trees, 1)
    told = Told()
    run = fit(table(), "answer", settings=[settings("linear", "trees")], media_root=media, progress=told)
    assert run.interrupted
    assert set(run.selection.valid) == set(run.predictors) == {"linear"}
    assert "interrupted: linear kept as trained so far; Ctrl-C again saves no run" in told.lines
    assert not any("refitted" in line for line in told.lines)
    assert run.metrics["test"]["accuracy"].n == 18
    again = load(run.save(tmp_path / "run"))
    assert again.interrupted
    assert np.array_equal(again.predict_proba(table(), media), run.predict_proba(table(), media))
    without = fit(table(), "answer", settings=[settings("linear", refit=False)], media_root=media)
    assert not load(without.save(tmp_path / "whole")).interrupted
    assert np.array_equal(without.predict_proba(table(), media), run.predict_proba(table(), media))


def test_an_interrupted_refit_keeps_all_that_was_selected(
    table: Any, settings: Any, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = fit(table(), "answer", settings=[settings("linear", refit=False)], media_root=media)
    interrupt(monkeypatch, linear.Linear, 2)
    run = fit(table(), "answer", settings=[settings("linear")], media_root=media)
    assert run.interrupted
    assert np.array_equal(without.predict_proba(table(), media), run.predict_proba(table(), media))


def test_a_network_that_is_interrupted_is_kept_and_the_others_are_not_begun(
    table: Any, settings: Any, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = iter(range(100))
    value = Context.value

    def stopped(self: Context, *args: Any) -> float:
        if next(measured) == 1:
            raise KeyboardInterrupt
        return value(self, *args)

    monkeypatch.setattr(Context, "value", stopped)
    monkeypatch.setattr(linear.Linear, "fit", lambda *_: pytest.fail("begun after the interrupt"))
    run = fit(table(), "answer", settings=[settings("fused", "linear")], media_root=media)
    assert run.interrupted
    assert set(run.predictors) == {"fused"}
    assert [line["epoch"] for line in run.log if "epoch" in line] == [1]


def test_an_interrupt_before_anything_is_trained_is_let_through(
    table: Any, settings: Any, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(monkeypatch, linear.Linear, 1)
    with pytest.raises(KeyboardInterrupt):
        fit(table(), "answer", settings=[settings("linear", "trees")], media_root=media)
