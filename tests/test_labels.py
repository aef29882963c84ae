"""Runs whose target are labels, from end to end: every kind of predictor, the folder, answers as lists, a CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from consilience import pipeline
from consilience.errors import ConsilienceError
from consilience.predictors.trees import Trees, _grow
from consilience.progress import Budget, Silent
from consilience.run import Run, load, write_predictions
from consilience.tasks.multilabel import MultiLabel, read_labels

WORDS = {"loud": "noise", "red": "crimson", "wet": "rain"}


def make_table(rows: int, form: str) -> pa.Table:
    """Labels that stand as words in a text, one of them in a number too; `form` says how the target is written."""
    rng = np.random.default_rng(0)
    there = rng.random((rows, 3)) < [0.5, 0.3, 0.2]
    texts = [
        " ".join([WORDS[label] for label, on in zip(WORDS, row, strict=True) if on] + ["so it was on day", str(day)])
        for day, row in enumerate(there)
    ]
    sizes = [f"{rng.normal() + 3 * row[1]:.3f}" for row in there]
    labels = [[label for label, on in zip(WORDS, row, strict=True) if on] for row in there]
    cells: list[Any] = labels if form == "list" else ["|".join(found) or "[]" for found in labels]
    return pa.table({"note": [None if row == 5 else text for row, text in enumerate(texts)], "size": sizes, "tags": cells})


@pytest.fixture(scope="module")
def whole(settings: Any) -> Run:
    predictors = settings("fused", "linear", "stack", "trees", "single")
    predictors["predictors"]["fused"]["train"] = {"epochs": 12, "batch": 16, "rate": 0.02}
    predictors["predictors"]["trees"]["rate"] = 0.5
    return pipeline.fit(make_table(160, "list"), "tags", settings=[predictors, {"metric": "micro_f1"}])


def test_every_kind_of_predictor_learns_labels(whole: Run) -> None:
    assert whole.task_kind == "multilabel"
    for name, value in whole.selection.valid.items():
        # Chance is 0.5 at most: every row given every label, a third of which are right.
        assert value > (0.5 if name == "single.size" else 0.75), name
    assert set(whole.selection.valid) == {"fused", "linear", "stack", "trees", "single.note", "single.size"}
    found = whole.metrics["test"]
    assert found["micro_f1"].value > 0.9
    assert found["pr_auc"].low > 0.8
    assert set(found) == set(MultiLabel.metrics)


@pytest.mark.parametrize("kind", ["fused", "linear", "stack", "trees"])
def test_a_run_of_any_kind_comes_back_from_its_folder(kind: str, settings: Any, tmp_path: Path) -> None:
    table = make_table(90, "list")
    cells = [[label for label in labels if label != "wet"] for labels in table.column("tags").to_pylist()]
    table = table.set_column(2, "tags", pa.array(cells))  # two labels are not two classes
    run = pipeline.fit(table.slice(0, 80), "tags", settings=[settings(kind)])
    again = load(run.save(tmp_path / "run"))
    assert run.predict_proba(table).shape == (90, 2)
    assert again.predict(table) == run.predict(table)
    assert np.array_equal(again.predict_proba(table), run.predict_proba(table))
    assert again.evaluate(table) == run.evaluate(table)


def test_trees_of_labels_repeat_with_their_rounds_and_heed_weights(prepare: Any, settings: Any) -> None:
    table = make_table(120, "list").rename_columns(["note", "size", "answer"])
    noisy = [labels[1:] if row % 4 == 0 else labels for row, labels in enumerate(table.column("answer").to_pylist())]
    cells = [[*labels, "always"] for labels in noisy]
    table = table.set_column(2, "answer", pa.array(cells)).append_column(
        "heavy", pa.array([1.0 + row % 3 for row in range(120)])
    )
    options = {"rate": 0.3, "iterations": 60, "strengths": {"note": 0.01, "size": 0.01}}

    def trained(weight: str | None, valid: bool, **more: Any) -> tuple[Trees, np.ndarray]:
        wanted = settings("trees", weight=weight, exclude=["heavy"] if weight is None else [])
        wanted["predictors"]["trees"] |= options | more
        it = prepare(table, wanted)
        predictor = it.predictors["trees"]
        rng = np.random.default_rng(0)
        chosen = it.splits.valid if valid else None
        predictor.fit(it.view, it.splits.train, chosen, it.context, rng, Budget("cpu", Silent()))
        scores = predictor.scores(it.view, np.arange(120), it.task)
        assert (scores[:, 0] == it.task.prior()[0]).all()  # of the label that every row has
        return predictor, scores

    first, scores = trained(None, True)
    rounds = first.settled().model_dump()["stop"]
    assert 1 < rounds < 60
    assert np.array_equal(trained(None, False, stop=rounds)[1], scores)
    assert not np.array_equal(trained(None, False, stop=rounds + 1)[1], scores)
    assert not np.array_equal(trained("heavy", False, stop=rounds)[1], scores)


def test_weights_reach_the_trees_and_none_are_given_where_all_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    matrix, target, weight = rng.normal(size=(80, 3)), rng.random(80) < 0.5, rng.exponential(size=80)
    check = (matrix[:20], ~target[:20], np.ones(20))

    def grown(*arguments: Any) -> HistGradientBoostingClassifier:
        return _grow(HistGradientBoostingClassifier(max_iter=5, early_stopping=arguments[1] is not None), *arguments)

    plain = HistGradientBoostingClassifier(max_iter=5)
    told = plain.fit(matrix, target, sample_weight=weight).predict_proba(matrix)
    assert np.array_equal(grown((matrix, target, weight), None).predict_proba(matrix), told)
    assert not np.array_equal(grown((matrix, target, np.ones(80)), None).predict_proba(matrix), told)
    ones = grown((matrix, target, np.ones(80)), check).validation_score_
    half = grown((matrix, target, np.ones(80)), (*check[:2], np.linspace(0, 1, 20))).validation_score_
    assert not np.array_equal(ones, half)
    fit = HistGradientBoostingClassifier.fit
    monkeypatch.setattr(
        HistGradientBoostingClassifier,
        "fit",
        lambda self, *given, **named: fit(self, *given, **named) if not any("weight" in name for name in named) else None,
    )
    assert grown((matrix, target, np.ones(80)), check) is not None
    assert grown((matrix, target, weight), check) is None


def test_predictions_are_lists_in_parquet_and_json_in_csv(whole: Run, tmp_path: Path) -> None:
    table = make_table(40, "list")
    found = whole.predictions(table)
    answers = found.column("prediction").to_pylist()
    assert answers == whole.predict(table)
    assert [] in answers
    assert {f"probability_{label}" for label in WORDS} < set(found.column_names)
    write_predictions(found.to_batches(), tmp_path / "out.parquet", False)
    assert pq.read_table(tmp_path / "out.parquet").equals(found)
    write_predictions(found.to_batches(), tmp_path / "out.csv", False)
    cells = pacsv.read_csv(tmp_path / "out.csv").column("prediction").to_pylist()
    assert [read_labels(cell, None) for cell in cells] == answers
    assert cells[answers.index([])] == "[]"
    assert found.column("used").to_pylist()[5] == "size"


def test_answers_without_any_label_are_lists_of_texts(whole: Run, tmp_path: Path) -> None:
    table = pa.table({"note": ["so it was"], "size": ["-1.0"]})
    found = whole.predictions(table)
    assert found.column("prediction").to_pylist() == [[]]
    assert found.column("prediction").type == pa.list_(pa.string())
    write_predictions(found.to_batches(), tmp_path / "out.parquet", False)
    assert pq.read_table(tmp_path / "out.parquet").equals(found)


def test_a_csv_with_separators(settings: Any, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    pacsv.write_csv(make_table(120, "text"), path)
    run = pipeline.fit(path, "tags", settings=[settings("linear")])
    assert run.task.describe() == "multi-label classification into 3 labels (loud, red, wet)"
    assert run.metrics["test"]["pr_auc"].value > 0.9
    again = load(run.save(tmp_path / "run"))
    assert again.evaluate(path) == run.evaluate(path)
    assert again.evaluate(make_table(120, "list")) == run.evaluate(path)  # however the labels are written


def test_an_empty_cell_is_unlabelled_and_an_empty_list_is_not(settings: Any) -> None:
    table = make_table(80, "text")
    cells = table.column("tags").to_pylist()
    cells[3] = None
    table = table.set_column(2, "tags", pa.array(cells))
    with pytest.raises(ConsilienceError, match="1 of 80 rows have an empty target"):
        pipeline.fit(table, "tags", settings=[settings("linear")])
    run = pipeline.fit(table, "tags", settings=[settings("linear", split={"unlabelled": "exclude"})])
    parts = np.concatenate([run.splits.train, run.splits.valid, run.splits.test])
    assert sorted(parts) == [row for row in range(80) if row != 3]
