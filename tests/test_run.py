"""A run answers, says what its answers rest on, and its folder holds everything that it takes and nothing of the machine."""

from __future__ import annotations

import copy
import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consilience import pipeline
from consilience.errors import ConsilienceError
from consilience.run import Run, estimate, load
from consilience.select import Selection, answer

FILES = {"log.jsonl", "metrics.json", "recipe.yaml", "run.json", "schema.json", "selection.json", "splits.parquet", "task.json"}


@pytest.fixture(scope="module")
def run(trained: Any) -> Run:
    """Several kinds of predictors together."""
    it = trained("three")
    weights = {"concat": 0.125, "linear": 0.125, "stack": 0.25, "trees": 0.5}
    selection = Selection(weights, (), 1.5, "accuracy", dict.fromkeys(weights, 0.5), ("several",))
    scores = answer(selection, it.predictors, it.view, it.splits.test, it.task).scores
    metrics = {"test": estimate(it.task, scores, it.view, it.splits.test, it.recipe.seed)}
    digest, log = it.view.table.digest(), [{"predictor": "trees", "valid": 0.5}]
    return Run(it.recipe, "classification", it.schema, it.task, it.predictors, selection, it.splits, digest, metrics, log)


@pytest.fixture(scope="module")
def fitted(table: Any, settings: Any, media: Path) -> Callable[..., Run]:
    """Another run: `fitted("two", "linear", metric="f1")`."""

    def fit(target: str, *names: str, cells: dict[str, Any] | None = None, **more: Any) -> Run:
        return pipeline.fit(
            table(target=target, **(cells or {})), "answer", settings=[settings(*names, **more)], media_root=media
        )

    return fit


@pytest.fixture
def folder(run: Run, tmp_path: Path) -> Path:
    return run.save(tmp_path / "run")


# Predictions


def test_a_prediction_table_has_a_row_for_each_row_and_says_what_it_rests_on(run: Run, table: Any, media: Path) -> None:
    found = run.predictions(table(12), media)
    classes = ["calm", "fever", "pain"]
    assert found.column_names == ["row", "prediction", *(f"probability_{name}" for name in classes), "used", "reasons"]
    assert found.column("row").to_pylist() == list(range(12))
    chances = np.stack([found.column(f"probability_{name}").to_numpy() for name in classes], 1)
    assert np.allclose(chances.sum(1), 1)
    assert found.column("prediction").to_pylist() == [classes[index] for index in chances.argmax(1)]
    used, reasons = found.column("used").to_pylist(), found.column("reasons").to_pylist()
    assert (used[0], reasons[0]) == ("photo,note,tabular", "")
    assert (used[5], reasons[5]) == ("note,tabular", "photo: not an image")
    assert (used[6], reasons[6]) == ("note,tabular", "photo: truncated")
    assert (used[7], reasons[7]) == ("note,tabular", "photo: file not found")
    assert (used[8], reasons[8]) == ("note,tabular", "photo: empty")
    assert (used[9], reasons[9]) == ("photo,tabular", "note: empty")
    assert (used[10], reasons[10]) == ("photo,note", "tabular: empty")
    assert (used[11], reasons[11]) == ("", "photo: empty; note: empty; tabular: empty; no input present: the training prior")


def test_a_row_without_any_input_gets_exactly_the_shares_of_the_training_rows(run: Run, table: Any, media: Path) -> None:
    train = [table().column("answer")[row].as_py() for row in run.splits.train]
    chances = run.predict_proba(table(12), media)
    assert chances[11].tolist() == pytest.approx([train.count(name) / len(train) for name in ("calm", "fever", "pain")])
    assert np.array_equal(chances[11], np.exp(run.task.prior()))


def test_what_was_repaired_is_a_reason_too(run: Run, table: Any, media: Path) -> None:
    found = run.predictions(table(1, age=["many"], note=["a\0b"]), media)
    assert found.column("reasons").to_pylist() == ["note: control characters removed; tabular: age: not a number"]
    assert found.column("used").to_pylist() == ["photo,note,tabular"]


def test_predict_and_predict_proba_say_what_the_table_says(run: Run, table: Any, media: Path) -> None:
    found = run.predictions(table(20), media)
    assert run.predict(table(20), media) == found.column("prediction").to_pylist()
    assert run.predict_proba(table(20), media)[:, 1].tolist() == found.column("probability_fever").to_pylist()


def test_the_threshold_of_two_classes_decides(fitted: Any, table: Any, media: Path) -> None:
    run = fitted("two", "linear", metric="f1")
    found = run.predictions(table(60, target="two"), media)
    threshold = run.task.state().json["threshold"]
    assert threshold != 0.5
    wanted = ["yes" if chance >= threshold else "no" for chance in found.column("probability_yes").to_pylist()]
    assert found.column("prediction").to_pylist() == wanted


def test_a_number_is_a_number_and_has_no_probabilities(fitted: Any, table: Any, media: Path) -> None:
    run = fitted("number", "linear")
    found = run.predictions(table(12), media)
    assert found.column_names == ["row", "prediction", "used", "reasons"]
    answers = [float(cell) for cell in table(target="number").column("answer").to_pylist()]
    assert found.column("prediction")[11].as_py() == pytest.approx(np.mean([answers[row] for row in run.splits.train]))
    with pytest.raises(ConsilienceError, match="the task is regression of a number"):
        run.predict_proba(table(3), media)


def test_more_columns_are_no_matter_and_missing_ones_are_named(run: Run, table: Any, media: Path) -> None:
    more = table(5, other=["x"] * 5)
    assert np.array_equal(run.predict_proba(more, media), run.predict_proba(table(5).drop_columns(["answer"]), media))
    with pytest.raises(ConsilienceError) as caught:
        run.predict(table(5).rename_columns(["Photo", "note", "years", "dose", "ward", "answer"]), media)
    assert [problem.found for problem in caught.value.problems] == [
        "the table has no column 'photo'",
        "the table has no column 'age'",
    ]


def test_rows_lacking_what_the_chosen_predictor_needs_are_answered_by_the_fallback(
    fitted: Any, table: Any, media: Path
) -> None:
    run = fitted("three", "single", cells={"age": [f"{10 * (row % 3)}" for row in range(120)]}, select={"method": "best"})
    assert run.selection.weights == {"single.tabular": 1.0}
    assert set(run.selection.fallback) == {"single.photo", "single.note"}
    empty = [None] * 6
    found = run.predictions(table(6, age=empty, dose=empty, ward=empty, note=[None] * 5 + ["hot"]), media)
    assert found.column("used").to_pylist()[:5] == ["photo"] * 5
    assert found.column("used").to_pylist()[5] == "note"  # its picture is broken
    assert found.column("reasons")[0].as_py() == "note: empty; tabular: empty"
    assert len(set(found.column("probability_pain").to_pylist())) > 3


# Scores


def test_scoring_the_test_rows_again_gives_the_metrics_of_the_run(run: Run, table: Any, media: Path) -> None:
    found = run.evaluate(table().take(pa.array(run.splits.test)), media)
    assert found == run.metrics["test"]
    said, truth = run.predict(table(), media), table().column("answer").to_pylist()
    right = [said[row] == truth[row] for row in run.splits.test]
    assert found["accuracy"].value == pytest.approx(np.mean(right))
    assert found["accuracy"].n == len(run.splits.test)
    assert found["accuracy"].low <= found["accuracy"].value <= found["accuracy"].high


def test_scoring_needs_targets(run: Run, fitted: Any, table: Any, media: Path) -> None:
    with pytest.raises(ConsilienceError, match="no column 'answer'"):
        run.evaluate(table().drop_columns(["answer"]), media)
    answers = [*table().column("answer").to_pylist()[:20]]
    gaps = [*answers[:15], None, " ", None, "", None]
    with pytest.raises(ConsilienceError, match="5 of 20 rows have an empty target"):
        run.evaluate(table(20, answer=gaps), media)
    with pytest.raises(ConsilienceError, match="labels without training rows: 'panic'"):
        run.evaluate(table(20, answer=["panic", *answers[1:]]), media)
    lenient = fitted("three", "linear", split={"unlabelled": "exclude"})
    assert lenient.evaluate(table(20, answer=gaps), media) == lenient.evaluate(table(15), media)
    with pytest.raises(ConsilienceError, match="20 of 20 rows have an empty target"):
        lenient.evaluate(table(20, answer=[None] * 20), media)


def test_weights_count_in_scores_and_are_needed_for_them_only(fitted: Any, table: Any, media: Path) -> None:
    run = fitted("three", "linear", cells={"w": ["1"] * 120}, weight="w")
    said, truth = run.predict(table(30), media), table(30).column("answer").to_pylist()
    right = [one == other for one, other in zip(said, truth, strict=True)]
    assert 0 < sum(right) < 30
    for counted, value in (([str(int(it)) for it in right], 1.0), ([str(int(not it)) for it in right], 0.0)):
        assert run.evaluate(table(30, w=counted), media)["accuracy"].value == value
    with pytest.raises(ConsilienceError, match="no column 'w'"):
        run.evaluate(table(30), media)


def test_intervals_are_of_groups(fitted: Any, table: Any, media: Path) -> None:
    people = [f"p{row // 2}" for row in range(120)]
    run = fitted("three", "linear", cells={"person": people}, split={"group": "person"})
    rows = np.repeat(np.arange(12, 42), 20)  # each row twenty times, all of one person
    repeated = table(person=people).take(pa.array(rows))
    widths = {}
    for name, persons in (("together", [f"p{row}" for row in rows]), ("apart", [f"q{index}" for index in range(len(rows))])):
        found = run.evaluate(repeated.set_column(6, "person", pa.array(persons)), media)["accuracy"]
        widths[name] = found.high - found.low
    once = run.evaluate(table(person=people).take(pa.array(np.arange(12, 42))).set_column(
        6, "person", pa.array([f"p{row}" for row in range(30)])), media)["accuracy"]  # fmt: skip
    assert widths["together"] == pytest.approx(once.high - once.low)
    assert widths["apart"] < 0.5 * widths["together"]


# The folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_folder_holds_what_it_should_and_nothing_of_the_machine(run: Run, folder: Path, media: Path) -> None:
    names = set(content(folder))
    predictors = {
        f"predictors/{name}/0/{file}" for name in run.selection.needed for file in ("config.json", "state.safetensors")
    }
    assert names == FILES | predictors
    for name, data in content(folder).items():
        for word in (str(media).encode(), str(folder.parent).encode(), b"/home", b"/tmp", b"/root", b"/work"):
            assert word not in data, name
    for path in folder.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_what_stands_in_the_files(run: Run, folder: Path) -> None:
    head = json.loads((folder / "run.json").read_text())
    assert head["format"] == 2
    assert head["predictors"].keys() == set(run.selection.needed)
    assert len(head["table"]) == 64
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics) == {"test"}
    assert set(metrics["test"]["accuracy"]) == {"value", "low", "high", "n"}
    selection = json.loads((folder / "selection.json").read_text())
    assert sum(selection["weights"].values()) == pytest.approx(1)
    assert selection["temperature"] > 0
    assert json.loads((folder / "task.json").read_text())["state"]["threshold"] == 0.5
    splits = pq.read_table(folder / "splits.parquet")
    assert splits.column("row").to_pylist() == list(range(120))
    assert [splits.column("part").to_pylist().count(part) for part in ("train", "valid", "test")] == [84, 18, 18]


def test_a_run_comes_back_whole(run: Run, folder: Path, table: Any, media: Path, tmp_path: Path) -> None:
    again = load(folder)
    assert np.array_equal(again.predict_proba(table(), media), run.predict_proba(table(), media))
    assert again.predictions(table(12), media).equals(run.predictions(table(12), media))
    assert again.recipe == run.recipe
    assert again.schema == run.schema
    assert again.metrics == run.metrics
    assert again.log == run.log
    assert again.selection == run.selection
    assert again.splits.notes == run.splits.notes
    assert again.splits.test.tolist() == run.splits.test.tolist()
    assert content(again.save(tmp_path / "again")) == content(folder)


def test_a_folder_is_replaced_only_when_that_is_said(run: Run, folder: Path) -> None:
    with pytest.raises(ConsilienceError, match="exists already"):
        run.save(folder)
    (folder / "other.txt").write_text("of the old run")
    run.save(folder, overwrite=True)
    assert not (folder / "other.txt").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["run"]


def test_what_is_no_run_is_never_deleted(run: Run, tmp_path: Path) -> None:
    photos, letter = tmp_path / "photos", tmp_path / "letter.txt"
    photos.mkdir()
    (photos / "first.jpg").write_text("mine")
    letter.write_text("mine")
    for path in (photos, letter):
        with pytest.raises(ConsilienceError, match="exists and is no run"):
            run.save(path, overwrite=True)
    assert (photos / "first.jpg").read_text() == letter.read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert load(run.save(tmp_path / "empty", overwrite=True)).recipe == run.recipe


@pytest.mark.parametrize("name", ["pros/cons", "..", ".", "What? <a|b>: *", "x" * 300, "ä" * 120, "a\\b", "single.note"])
def test_columns_of_any_name_are_saved_inside_the_run(name: str, table: Any, settings: Any, tmp_path: Path) -> None:
    source = table().drop_columns(["photo", "age", "dose", "ward"]).rename_columns([name, "answer"])
    run = pipeline.fit(source, "answer", settings=[settings("single", refit=False)])
    folder = run.save(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert len(list((folder / "predictors").iterdir())) == 1
    assert np.array_equal(load(folder).predict_proba(source), run.predict_proba(source))


def test_an_input_may_be_named_as_another_is_up_to_a_slash(table: Any, settings: Any, media: Path, tmp_path: Path) -> None:
    source = table().drop_columns(["note", "dose", "ward"]).rename_columns(["age/photo", "age", "answer"])
    run = pipeline.fit(
        source, "answer", settings=[settings("concat", "linear", "trees", select={"method": "ensemble"})], media_root=media
    )
    assert run.schema.names == ("age/photo", "age")
    assert np.array_equal(load(run.save(tmp_path / "run")).predict_proba(source, media), run.predict_proba(source, media))


# Damage


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_that_is_gone_cut_or_junk(name: str, folder: Path) -> None:
    path = folder / name
    sound = path.read_bytes()
    for damaged in (None, b"\xff\xfe junk", b"", sound[: len(sound) // 2], b"[1, 2]", b"3\n", b"null"):
        if damaged is None:
            path.unlink()
        else:
            path.write_bytes(damaged)
        try:
            load(folder)
        except ConsilienceError:
            continue
        assert damaged is not None
        assert name in ("log.jsonl", "recipe.yaml"), damaged  # half of such a file may be a whole one
    path.write_bytes(sound)
    load(folder)


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree[:2]) if isinstance(tree, list) else ()
    for key, value in items:
        yield from leaves(value, (*path, key))


@pytest.mark.parametrize("name", sorted(file for file in FILES if file.endswith(".json")))
def test_whatever_stands_in_a_file_nothing_else_than_our_error_is_raised(name: str, folder: Path) -> None:
    tree = json.loads((folder / name).read_text())
    junk = (None, -1, 1e999, "../../x", [], {}, [[1]], {"a": None})
    refused = 0
    for place, path in enumerate(list(leaves(tree))[1:25]):
        changed = copy.deepcopy(tree)
        node = changed
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = junk[place % 8]
        (folder / name).write_text(json.dumps(changed))
        try:
            load(folder)
        except ConsilienceError:
            refused += 1
    assert refused, "nothing in the file is looked at"


@pytest.mark.parametrize("name", ["../../outside", "/outside", "..", "linear/../../../outside"])
def test_the_name_of_a_predictor_leads_nowhere_else(name: str, folder: Path) -> None:
    shutil.copytree(folder / "predictors/linear", folder.parent / "outside")
    shutil.copytree(folder / "predictors/linear", folder / "outside")
    head = json.loads((folder / "run.json").read_text())
    head["predictors"] = {name: "linear"}
    (folder / "run.json").write_text(json.dumps(head))
    (folder / "selection.json").write_text(
        json.dumps({"weights": {name: 1.0}, "fallback": [], "temperature": 1.0, "metric": "f1", "valid": {}, "reasons": []})
    )
    with pytest.raises(ConsilienceError, match="cannot be read"):
        load(folder)


def test_predictors_that_are_gone_unknown_or_swapped(run: Run, folder: Path) -> None:
    head = json.loads((folder / "run.json").read_text())
    first, second = run.selection.needed[:2]
    for predictors, message in (
        ({first: head["predictors"][first]}, "lacks predictors that its selection needs"),
        (head["predictors"] | {first: "forest"}, "no predictor named 'forest'"),
        (head["predictors"] | {first: head["predictors"][second], second: head["predictors"][first]}, "."),
    ):
        (folder / "run.json").write_text(json.dumps(head | {"predictors": predictors}))
        with pytest.raises(ConsilienceError, match=message):
            load(folder)


def test_what_is_no_run_or_of_another_format(folder: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path, folder / "run.json"):
        with pytest.raises(ConsilienceError, match="is no run"):
            load(path)
    head = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(head | {"format": 3}))
    with pytest.raises(ConsilienceError, match="has the format 3"):
        load(folder)


def test_metrics_that_are_undefined_come_back_as_nan(run: Run, folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["test"]["accuracy"] = {"value": None, "low": None, "high": None, "n": 3}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    assert math.isnan(load(folder).metrics["test"]["accuracy"].value)
