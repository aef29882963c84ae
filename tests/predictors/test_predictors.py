"""What the contract promises of a predictor holds for each kind of them, and its file can be trusted or says that it cannot."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from consilience import component
from consilience.data.view import View
from consilience.errors import ConsilienceError
from consilience.pipeline import generator, make_predictors, refit
from consilience.predictors.base import Predictor
from consilience.progress import Budget, Silent
from consilience.recipe import make_recipe
from consilience.types import State

NETWORKS = ("fused", "concat", "scratch")
NAMES = (*NETWORKS, "linear", "stack", "trees", "single.photo", "single.note", "single.tabular")
TARGETS = ("three", "two", "number")
FAST = ("linear", "stack", "trees")
BUDGET = Budget("cpu", Silent())


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def rows(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


# Scores


@pytest.mark.parametrize("target", TARGETS)
def test_a_row_without_any_input_gets_the_prior_and_others_a_score_of_their_own(name: str, target: str, trained: Any) -> None:
    it = trained(target)
    predictor = it.predictors[name]
    scores = predictor.scores(it.view, np.arange(len(it.view)), it.task)
    assert scores.shape == (len(it.view), {"three": 3, "two": 2, "number": 1}[target])
    assert np.isfinite(scores).all()
    here = np.stack(list(it.view.present(np.arange(len(it.view)), predictor.inputs).values())).any(0)
    assert (scores[~here] == it.task.prior()).all()
    assert not (~here).all()
    assert not here[11]
    assert not (scores[here] == it.task.prior()).all(1).any()
    if target != "number":
        assert np.allclose(np.exp(scores).sum(1), 1)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", [name for name in NAMES if name not in NETWORKS])  # two epochs are not meant to learn
def test_most_are_better_than_the_prior(name: str, target: str, trained: Any) -> None:
    it = trained(target)
    rows = np.concatenate([it.splits.train, it.splits.valid, it.splits.test])
    encoded, weight = it.task.encode(it.view.target(rows)), np.ones(len(rows))
    scores = it.predictors[name].scores(it.view, rows, it.task)
    prior = np.tile(it.task.prior(), (len(rows), 1))
    assert it.context.proper(scores, encoded, weight) > it.context.proper(prior, encoded, weight)


def test_present_removes_inputs_as_if_their_cells_were_empty(name: str, trained: Any, table: Any) -> None:
    it = trained("three")
    chosen = np.arange(20)
    kept = it.view.present(chosen)
    for index, key in enumerate(kept):
        kept[key] = kept[key] & (chosen % 4 != index)
    cells = {key: table().column(key).to_pylist()[:20] for key in table().column_names}
    for key, columns in (("photo", ["photo"]), ("note", ["note"]), ("tabular", ["age", "dose", "ward"])):
        for row in np.flatnonzero(~kept[key]):
            for column in columns:
                cells[column][row] = None
    emptied = it.see(table(20, **cells))
    removed = it.predictors[name].scores(it.view, chosen, it.task, kept)
    assert np.array_equal(removed, it.predictors[name].scores(emptied, chosen, it.task))


def test_present_cannot_add_an_input(name: str, trained: Any) -> None:
    it = trained("three")
    present = {key: np.ones(1, dtype=bool) for key in it.schema.names}
    with pytest.raises(AssertionError, match="present may only remove inputs"):
        it.predictors[name].scores(it.view, rows(11), it.task, present)


def test_no_rows_are_no_scores(name: str, trained: Any) -> None:
    it = trained("three")
    assert it.predictors[name].scores(it.view, rows(), it.task).shape == (0, 3)


def test_inputs_that_a_predictor_does_not_use_are_nothing_to_it(trained: Any, table: Any) -> None:
    it = trained("three")
    others = it.see(table(20, photo=[None] * 20, age=["x"] * 20, dose=[None] * 20, ward=[None] * 20))
    predictor = it.predictors["single.note"]
    assert predictor.inputs == ("note",)
    assert np.array_equal(predictor.scores(others, np.arange(20), it.task), predictor.scores(it.view, np.arange(20), it.task))


# Fit


@pytest.fixture
def touched(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The rows that anything asks of any view."""
    seen: set[int] = set()
    for method, place in (("target", 0), ("weight", 0), ("samples", 1), ("reasons", 1), ("tokens", 2), ("groups", 0)):
        original = getattr(View, method)

        def spy(self: View, *args: Any, original: Callable[..., Any] = original, place: int = place) -> Any:
            seen.update(args[place].tolist())
            return original(self, *args)

        monkeypatch.setattr(View, method, spy)
    return seen


@pytest.mark.parametrize("target", ["three", "number"])
def test_a_refit_uses_what_was_chosen_and_touches_no_other_row(name: str, target: str, trained: Any, touched: set[int]) -> None:
    it = trained(target)
    predictor = it.predictors[name]
    touched.clear()  # of what trained them, where nobody had before
    again = refit({name: predictor}, it.view, it.splits, it.context, it.recipe, BUDGET)[name]
    assert touched <= {*it.splits.train.tolist(), *it.splits.valid.tolist()}
    assert again.settled() == predictor.settled()
    assert not np.array_equal(
        again.scores(it.view, it.splits.test, it.task), predictor.scores(it.view, it.splits.test, it.task)
    )


def test_the_settled_configuration_repeats_the_fit(name: str, trained: Any) -> None:
    it = trained("three")
    predictor = it.predictors[name]
    again = type(predictor)(config=predictor.settled(), schema=it.schema)
    again.fit(it.view, it.splits.train, None, it.context, generator(it.recipe, name), BUDGET)
    one, other = (each.scores(it.view, np.arange(120), it.task) for each in (predictor, again))
    if name in NETWORKS:
        assert np.array_equal(one, other)
    assert np.allclose(one, other, atol=0.05)


def test_only_training_rows_are_learned_from(name: str, trained: Any, table: Any, prepare: Any, settings: Any) -> None:
    """Other cells in the test rows give the same predictor, to the bit."""
    it = trained("three")
    cells = {key: table().column(key).to_pylist() for key in ("photo", "note", "age", "ward")}
    for row in it.splits.test.tolist():
        cells["photo"][row], cells["note"][row], cells["age"][row], cells["ward"][row] = "0.png", "other words", "-900", "new"
    view = it.see(table(**cells))
    other = it.fit(name, view)
    assert np.array_equal(
        other.scores(it.view, it.splits.test, it.task), it.predictors[name].scores(it.view, it.splits.test, it.task)
    )


def parts(it: Any) -> Iterator[str]:
    """The part of each row, so that another table is cut in the same way."""
    names = dict.fromkeys(it.splits.train.tolist(), "train") | dict.fromkeys(it.splits.valid.tolist(), "valid")
    return (names.get(row, "test") for row in range(120))


@pytest.mark.parametrize("scale", [-1.0, 1e11, 1e300, float("inf")])
def test_scales_of_a_stack_that_overflow_are_damage(scale: float, trained: Any) -> None:
    it = trained("three")
    state = it.predictors["stack"].kept()
    json = {**state.json, "state": {**state.json["state"], "scale": dict.fromkeys(it.schema.names, scale)}}
    with pytest.raises(ConsilienceError, match="the scales of a stack are damaged"):
        type(it.predictors["stack"]).taken(State(json, state.arrays), it.schema, it.task)


@pytest.mark.parametrize("lacking", ["train", "valid", "train and valid"])
@pytest.mark.parametrize("columns", [["photo"], ["note"], ["age", "dose", "ward"], ["dose"], ["ward"]])
def test_an_input_or_a_column_that_a_whole_part_lacks(
    lacking: str, columns: list[str], trained: Any, table: Any, prepare: Any, settings: Any
) -> None:
    part = list(parts(trained("two")))
    cells = {name: table(target="two").column(name).to_pylist() for name in columns}
    for name in columns:
        cells[name] = [None if found in lacking else cell for found, cell in zip(part, cells[name], strict=True)]
    tiny = settings("concat", "linear", "stack", "trees", "single", split={"column": "part"})
    it = prepare(table(target="two", part=part, **cells), tiny)
    for name in it.predictors:
        predictor = it.fit(name)
        assert np.isfinite(predictor.scores(it.view, np.arange(120), it.task)).all()


@pytest.mark.parametrize("target", ["three", "two"])
def test_one_class_only_in_the_validation_rows(target: str, table: Any, prepare: Any, settings: Any, columns: Any) -> None:
    answer = columns(target=target)["answer"]
    rare = sorted(set(answer))[0]
    part = ["valid" if cell == rare and row % 2 else "train" for row, cell in enumerate(answer)]
    it = prepare(
        table(target=target, part=part), settings("fused", "linear", "stack", "trees", "single", split={"column": "part"})
    )
    for name in it.predictors:
        assert np.isfinite(it.fit(name).scores(it.view, np.arange(120), it.task)).all()


def test_groups_stay_together_out_of_fold(table: Any, prepare: Any, settings: Any) -> None:
    tiny = settings("stack", "trees", split={"group": "person"})
    tiny["predictors"]["stack"]["folds"] = tiny["predictors"]["trees"]["folds"] = 5
    for persons in (6, 30):  # of six persons four are left to train on, for five folds
        it = prepare(table(person=[f"p{row % persons}" for row in range(120)]), tiny)
        for name in it.predictors:
            assert np.isfinite(it.fit(name).scores(it.view, np.arange(120), it.task)).all()


def test_a_network_alone_without_a_row_to_train_on_says_so(table: Any, prepare: Any, settings: Any) -> None:
    part = ["train"] * 80 + ["valid"] * 20 + ["test"] * 20
    photos = [None if row < 100 else f"{row}.png" for row in range(120)]
    it = prepare(table(part=part, photo=photos), settings("fused", split={"column": "part"}))
    config = it.predictors["fused"].config.model_copy(update={"inputs": ("photo",)})
    predictor = type(it.predictors["fused"])(config=config, schema=it.schema)
    with pytest.raises(ConsilienceError, match=r"no training row has what photo is trained on"):
        predictor.fit(it.view, it.splits.train, it.splits.valid, it.context, generator(it.recipe, "x"), BUDGET)


# Single


def test_single_stands_for_a_predictor_of_each_input(trained: Any) -> None:
    it = trained("three")
    assert [name for name in it.predictors if name.startswith("single")] == ["single.photo", "single.note", "single.tabular"]
    assert [it.predictors[f"single.{name}"].inputs for name in it.schema.names] == [("photo",), ("note",), ("tabular",)]


def test_single_takes_the_model_and_its_options_and_keeps_them(trained: Any) -> None:
    it = trained("three")
    single = {"model": "trees", "inputs": ["tabular"], "options": {"iterations": 4, "folds": 2}}
    recipe = make_recipe("answer", preset="fast", settings=[{"predictors": {**dict.fromkeys(FAST), "single": single}}])
    (name,) = made = make_predictors(recipe, it.schema)
    assert name == "single.tabular"
    made[name].fit(it.view, it.splits.train, it.splits.valid, it.context, generator(recipe, name), BUDGET)
    settled = made[name].settled().model_dump()
    assert settled["model"] == "trees"
    assert settled["options"]["iterations"] == 4
    assert 1 <= settled["options"]["stop"] <= 4
    assert settled["inputs"] == ("tabular",)


# Wrong configurations


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("linear", {"inputs": ["nots"]}, "uses the input 'nots'.*did you mean 'note'"),
        ("linear", {"inputs": []}, "a predictor has no input"),
        ("trees", {"encoders": {"imag": "descriptor"}}, "encoders.imag names no input.*did you mean 'image'"),
        ("fused", {"encoders": {"note": "descritor"}}, "has no encoder 'descritor'.*did you mean 'descriptor'"),
        ("fused", {"encoders": {"note": {"kind": "descriptor", "widht": 3}}}, "encoders.note.widht.*did you mean 'width'"),
        ("trees", {"encoders": {"note": {"kind": ["descriptor"]}}}, "has no encoder"),
        ("linear", {"encoders": {"photo": {"side": 32, "cell": 32}}}, "encoders.photo: Value error, side is 32"),
        ("stack", {"encoder": "scratch"}, "learn by gradient, but this predictor trains none"),
        ("linear", {"encoders": {"note": "scratch"}}, "the encoders of note learn by gradient"),
    ],
)
def test_configurations_that_cannot_be(kind: str, options: dict[str, Any], message: str, trained: Any) -> None:
    import re

    cls = component.find("predictors", kind)
    with pytest.raises(ConsilienceError) as caught:
        cls(config=cls.Config.model_validate(options), schema=trained("three").schema)  # type: ignore[attr-defined]
    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)


@pytest.mark.parametrize("options", [{"model": "single"}, {"model": "nothing"}, {"options": {"strenght": 1}}])
def test_single_of_a_model_that_is_none(options: dict[str, Any]) -> None:
    with pytest.raises(ConsilienceError, match=r"predictors\.single"):
        make_recipe("answer", settings=[{"predictors": {"single": options}}])


# Files


@pytest.mark.parametrize("target", TARGETS)
def test_a_saved_predictor_says_the_same_to_the_bit(name: str, target: str, trained: Any, tmp_path: Path) -> None:
    it = trained(target)
    predictor: Predictor = it.predictors[name]
    predictor.save(tmp_path / "it", tmp_path / "shared")
    assert sorted(path.name for path in (tmp_path / "it").iterdir()) == ["config.json", "state.safetensors"]
    again = type(predictor).load(tmp_path / "it", tmp_path / "shared", it.schema, it.task)
    chosen = np.arange(len(it.view))
    assert np.array_equal(again.scores(it.view, chosen, it.task), predictor.scores(it.view, chosen, it.task))
    assert again.settled() == predictor.settled()
    again.save(tmp_path / "again", tmp_path / "shared")
    for file in ("config.json", "state.safetensors"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "it" / file).read_bytes()


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in a JSON tree, itself included."""
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree[:2]) if isinstance(tree, list) else ()
    for key, value in items:
        yield from leaves(value, (*path, key))


def test_a_damaged_file_is_an_error_of_ours(name: str, trained: Any, tmp_path: Path) -> None:
    """Whatever stands in the files, loading gives a predictor or a ConsilienceError, and nothing else is raised."""
    it = trained("three")
    predictor: Predictor = it.predictors[name]
    predictor.save(tmp_path / "it", tmp_path / "shared")
    config, state = tmp_path / "it/config.json", tmp_path / "it/state.safetensors"
    head, content, arrays = json.loads(config.read_text()), state.read_bytes(), load_file(state)

    def outcome() -> str:
        try:
            type(predictor).load(tmp_path / "it", tmp_path / "shared", it.schema, it.task)
        except ConsilienceError as error:
            return str(error)
        return ""

    junk = (None, -1, 1e999, "x", [], {}, [[1]], {"a": None})
    for place, path in enumerate(list(leaves(head))[:60]):
        for wrong in (junk[place % 8], junk[(place // 8 + 1 + place) % 8]):
            tree = copy.deepcopy(head)
            if path:
                node = tree
                for key in path[:-1]:
                    node = node[key]
                node[path[-1]] = wrong
            config.write_text(json.dumps(tree if path else wrong))
            outcome()
    for key in ("config", "state"):
        config.write_text(json.dumps({other: value for other, value in head.items() if other != key}))
        assert "damaged" in outcome()
    config.write_text(config.read_text()[:-9])
    assert "damaged" in outcome()
    config.write_text(json.dumps(head))
    assert outcome() == ""

    for damaged in (b"", content[:7], content[: len(content) // 2], b"\xff" * 200, content[:8] + b"x" * (len(content) - 8)):
        state.write_bytes(damaged)
        assert "damaged" in outcome()
    state.unlink()
    assert "damaged" in outcome()
    names = sorted(arrays)
    for place, key in enumerate(names[:: max(1, len(names) // 15)]):
        array = arrays[key]
        for wrong in (arrays[names[-1 - place]], array[:0], array[None], array.astype(np.float16), np.full_like(array, 7)):
            save_file(arrays | {key: np.ascontiguousarray(wrong)}, state)
            assert outcome() or wrong.shape == array.shape
        if array.dtype.kind == "f" and array.size:
            save_file(arrays | {key: np.full_like(array, np.nan)}, state)
            assert outcome(), f"{key} may be NaN"
        save_file({other: kept for other, kept in arrays.items() if other != key}, state)
        assert outcome(), f"{key} is not missed"
