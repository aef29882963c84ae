"""The estimators, by scikit-learn's own checks and inside its tools. Most models are one linear model without a search.

The intervals of metrics are left away: nothing here reads them, and they take half of the time of a fit on few rows.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn import base
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

import consilience as cs
from consilience import MultimodalClassifier, MultimodalRegressor, pipeline
from consilience.errors import ConsilienceError
from consilience.recipe import make_recipe

PAGE = (Path(__file__).parents[1] / "docs" / "estimators.md").read_text(encoding="utf-8")
clone: Any = base.clone
LINEAR = ("select.only=linear", "predictors.linear.strength=0.01")

NOT_APPLICABLE = {
    "check_sample_weight_equivalence_on_dense_data": "validation rows are drawn whatever they weigh, and a row that stands "
    "twice in the table may be drawn twice"
}


@pytest.fixture(autouse=True)
def _no_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "estimate", lambda *_: {})


def classifier(*settings: Any, **more: Any) -> Any:
    return MultimodalClassifier("fast", settings=(*LINEAR, *settings), **more)


def regressor(*settings: Any, **more: Any) -> Any:
    return MultimodalRegressor("fast", settings=(*LINEAR, *settings), **more)


@pytest.fixture
def frame(table: Callable[..., pa.Table]) -> pd.DataFrame:
    """120 rows of texts, numbers and categories with gaps, and `answer`, one of three."""
    made = table().drop_columns(["photo"]).to_pandas()
    return made.assign(age=made["age"].astype(float), dose=made["dose"].astype(float))


@pytest.fixture
def X(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns="answer")


@pytest.fixture
def y(frame: pd.DataFrame) -> Any:
    return frame["answer"]


def problems(estimator: Any, *args: Any, **given: Any) -> list[str]:
    with pytest.raises(ConsilienceError) as caught:
        estimator.fit(*args, **given)
    return [problem.found for problem in caught.value.problems]


# scikit-learn's checks


@parametrize_with_checks([classifier(), regressor()], expected_failed_checks=lambda _: dict(NOT_APPLICABLE), xfail_strict=True)
def test_scikit_learns_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


# X


def test_tables_of_all_makers_are_one_table(X: pd.DataFrame, y: pd.Series) -> None:
    model = classifier().fit(X, y)
    expected = model.predict_proba(X)
    assert model.feature_names_in_.tolist() == ["note", "age", "dose", "ward"]
    assert model.n_features_in_ == 4
    columns = {name: [None if cell != cell else cell for cell in X[name]] for name in X}
    for other in (pl.DataFrame(columns), pa.table(columns), columns, X.set_index(pd.Index(X["age"], name="row"))):
        made = classifier().fit(other, y)
        assert np.array_equal(made.predict_proba(other), expected), type(other)
        assert np.array_equal(made.predict_proba(X), expected)
        assert made.feature_names_in_.tolist() == ["note", "age", "dose", "ward"]


def test_an_array_has_numbered_columns_and_keeps_the_types_of_its_cells(X: pd.DataFrame, y: pd.Series) -> None:
    rows = X.values.tolist()
    model = classifier().fit(rows, y)
    inputs = {item.columns: item.modality for item in model.run_.schema.inputs}
    assert inputs == {("x0",): "text", ("x1", "x2", "x3"): "tabular"}
    assert model.run_.schema["tabular"].kinds == ("number", "number", "category")
    assert not hasattr(model, "feature_names_in_")
    expected = model.predict_proba(rows)
    nameless = X.set_axis(range(4), axis=1)
    assert np.array_equal(model.predict_proba(X.to_numpy(dtype=object)), expected)
    assert np.array_equal(model.predict_proba(nameless), expected)
    assert np.array_equal(classifier().fit(nameless, y).predict_proba(rows), expected)


def test_nan_in_an_array_is_an_empty_cell(X: pd.DataFrame, y: pd.Series) -> None:
    numbers = X[["age", "dose"]].to_numpy()
    model = classifier().fit(numbers, y)
    assert np.isnan(numbers[10]).all()
    wide = numbers.astype(np.longdouble)  # Arrow has no such type
    assert np.array_equal(classifier().fit(wide, y).predict_proba(wide), model.predict_proba(numbers))
    assert model.run_.predictions(pa.table({"x0": [None], "x1": [None]}))["used"].to_pylist() == [""]
    prior = [np.mean(y == label) for label in model.classes_]
    assert model.predict_proba([[np.nan, np.nan]])[0] == pytest.approx(prior, abs=0.02)
    assert model.predict_proba(np.array([[None, None]]))[0] == pytest.approx(prior, abs=0.02)


def test_other_columns_are_an_error_as_scikit_learn_says_it(X: pd.DataFrame, y: pd.Series) -> None:
    model = classifier().fit(X, y)
    with pytest.raises(ValueError, match="yet now missing:\n- age"):
        model.predict(X.drop(columns="age"))
    with pytest.raises(ValueError, match="must be in the same order"):
        model.predict(pl.from_pandas(X[["age", "note", "dose", "ward"]]))
    with pytest.raises(ValueError, match="unseen at fit time:\n- more"):
        model.predict({**X.to_dict("list"), "more": [1] * len(X)})
    with pytest.raises(ValueError, match="X has 2 features, but MultimodalClassifier is expecting 4"):
        classifier().fit(X.values.tolist(), y).predict([[1, 2]])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        assert np.array_equal(model.predict(X.values.tolist()), model.predict(X))
    with pytest.raises(TypeError, match="Feature names are only supported if all input features have string names"):
        classifier().fit(X.rename(columns={"age": 0}), y)
    with pytest.raises(ConsilienceError, match="different lengths"):
        classifier().fit({"a": [1, 2], "b": [1]}, [0, 1])
    with pytest.raises(TypeError, match="Sparse"):
        classifier().fit(sparse.dok_array(np.eye(4)), [0, 1, 0, 1])


def test_before_fit_nothing_is_answered(X: pd.DataFrame) -> None:
    for answer in (classifier().predict, classifier().predict_proba, regressor().predict):
        with pytest.raises(NotFittedError):
            answer(X)


def test_media_are_looked_up_below_the_root(table: Callable[..., pa.Table], media: Path, y: pd.Series) -> None:
    photos = table().select(["photo", "note"]).to_pandas()
    model = classifier(media_root=media).fit(photos, y)
    assert {item.name: item.modality for item in model.run_.schema.inputs} == {"photo": "image", "note": "text"}
    used = model.run_.predictions(pa.table({"photo": ["1.png", "gone.png"], "note": ["hot", "hot"]}), media)["used"]
    assert used.to_pylist() == ["photo,note", "note"]
    assert model.predict(photos).tolist() == model.run_.predict(photos, media) != model.run_.predict(photos)
    scores = model.predict_proba(photos)
    assert np.array_equal(scores, model.run_.predict_proba(photos, media))
    assert not np.array_equal(scores, model.run_.predict_proba(photos))


# y


@pytest.mark.parametrize(
    ("names", "order"),
    [(["10", "9", "b"], ["10", "9", "b"]), ([10, 9, 2], [2, 9, 10]), ([4.0, 1.0, 2.0], [1.0, 2.0, 4.0])],
)
def test_answers_are_labels_as_given_and_classes_are_sorted(X: pd.DataFrame, names: list[Any], order: list[Any]) -> None:
    """The core sorts "9" before "10", scikit-learn the other way round."""
    y = [names[row % 3] for row in range(120)]
    model = classifier().fit(X, y)
    assert model.classes_.tolist() == order
    answers, chances = model.predict(X), model.predict_proba(X)
    assert answers.dtype == np.asarray(y).dtype
    place = np.searchsorted(model.classes_, answers)
    assert np.array_equal(chances[np.arange(120), place], chances.max(1))
    assert model.score(X, y) > 0.8
    assert np.allclose(chances.sum(1), 1)


def test_booleans_are_labels(X: pd.DataFrame) -> None:
    y = [row % 3 == 1 for row in range(120)]
    model = classifier().fit(X, y)
    assert model.classes_.tolist() == [False, True]
    assert model.predict(X).dtype == bool
    assert model.score(X, y) > 0.8


def test_what_is_no_y_is_said(X: pd.DataFrame, y: pd.Series) -> None:
    two = np.arange(120) % 2
    assert problems(classifier(), X, y.where(y != "pain", None)) == ["40 cells of y are empty or NaN"]
    assert problems(classifier(), X, np.where(two, 1.0, np.nan)) == ["60 cells of y are empty or NaN"]
    assert problems(classifier(), X, np.where(two, "1", "1.0")) == ["labels of y that differ are written alike: ['1', '1.0']"]
    assert problems(classifier(), X, two, sample_weight=two) == ["y has one class only in rows that weigh: [1]"]
    assert problems(classifier(), X, two, sample_weight=0 * two) == ["every sample_weight is zero"]
    assert problems(classifier(), X, two, sample_weight=np.where(np.arange(120), 1, -1))[0].startswith(
        "the weight column 'sample_weight' has"
    )
    assert problems(regressor(), X, None) == ["MultimodalRegressor requires y to be passed, but the target y is None"]
    assert problems(regressor(), X[:1], [1.5]) == ["X has one sample only"]
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        classifier().fit(X, np.linspace(0, 1, 120) + 0.01)
    with pytest.raises(ValueError, match="could not convert string to float"):
        regressor().fit(X, y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        classifier().fit(X, two[:-1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        classifier().fit(X, two, groups=two[:-1])
    with pytest.warns(DataConversionWarning):
        classifier().fit(X, two[:, None])


def test_several_labels_a_row(X: pd.DataFrame, y: pd.Series) -> None:
    both = np.stack([y == "calm", y != "pain", np.zeros(120), y == "pain"], axis=1).astype(np.int8)
    model = classifier().fit(X, both)
    tags = get_tags(model).classifier_tags
    assert tags is not None
    assert tags.multi_label
    assert model.run_.task_kind == "multilabel"
    assert model.classes_.tolist() == [0, 1, 2, 3]
    answers, chances = model.predict(X), model.predict_proba(X)
    assert (answers.shape, answers.dtype, chances.shape) == ((120, 4), np.int8, (120, 4))
    assert np.array_equal(answers, chances >= 0.5)
    assert (chances[:, 2] == 0).all()
    assert model.score(X, both) > 0.8
    named = classifier().fit(X, pd.DataFrame(both, columns=["rest", "warm", "none", "sore"]))
    assert named.classes_.tolist() == ["rest", "warm", "none", "sore"]
    assert named.run_.predict(X)[0] == ["rest", "warm"]
    assert np.array_equal(named.predict(X), answers)
    arrow = pa.table({name: both[:, place] for place, name in enumerate(["rest", "warm", "none", "sore"])})
    assert classifier().fit(X, arrow).classes_.tolist() == ["rest", "warm", "none", "sore"]
    alike = pd.DataFrame(both, columns=["1", "2", "1.0", "3"])
    assert problems(classifier(), X, alike) == ["labels of y that differ are written alike: ['1', '2', '1.0', '3']"]


def test_regression(X: pd.DataFrame, y: pd.Series) -> None:
    values = y.map({"calm": 10, "fever": 13, "pain": 16}).astype(int)
    model = regressor().fit(X, values)
    assert model.predict(X).dtype == np.float64
    assert model.score(X, values) > 0.7
    logged = regressor({"task": {"kind": "regression", "log": True}}).fit(X, values)
    assert logged.run_.task.describe() == "regression of a number, on log(1 + target)"


# The run


def test_the_run_is_one_that_answers_files(X: pd.DataFrame, frame: pd.DataFrame, y: pd.Series, tmp_path: Path) -> None:
    model = classifier().fit(X, y)
    frame.to_csv(tmp_path / "new.csv", index=False)
    assert cs.load(model.run_.save(tmp_path / "run")).predict(tmp_path / "new.csv") == model.predict(X).tolist()
    assert model.run_.schema.target == "answer"
    assert model.run_.evaluate(tmp_path / "new.csv")["accuracy"].value == model.score(X, y)


def test_all_rows_train_and_none_is_for_the_test(X: pd.DataFrame, y: pd.Series) -> None:
    run = classifier("split.test=0.5").fit(X, y).run_
    assert len(run.splits.test) == 0
    assert sorted([*run.splits.train, *run.splits.valid]) == list(range(120))
    assert run.recipe.refit


def test_names_beside_the_columns_of_x_are_free(X: pd.DataFrame, y: pd.Series) -> None:
    weights = np.where(y == "calm", 2.0, 1.0)
    others = X.assign(answer=1.5 * np.arange(120), sample_weight=np.arange(120) % 7, group=0.5)
    run = classifier().fit(others, y, sample_weight=weights, groups=np.arange(120) // 4).run_
    roles = {role: run.schema.role(role) for role in ("target", "weight", "group")}
    assert roles == {"target": "answer_", "weight": "sample_weight_", "group": "group_"}
    assert run.schema.columns[4].role == "input"
    valid, train = (set((rows // 4).tolist()) for rows in (run.splits.valid, run.splits.train))
    assert not valid & train


def test_weights_count(X: pd.DataFrame, y: pd.Series) -> None:
    plain = classifier().fit(X, y).predict_proba(X)
    heavy = classifier().fit(X, y, sample_weight=np.where(y == "pain", 9.0, 1.0)).predict_proba(X)
    assert (heavy[:, 2] > plain[:, 2]).mean() > 0.9
    assert np.array_equal(classifier().fit(X, y, sample_weight=np.full(120, 3)).predict(X), plain_labels(plain, y))


def plain_labels(chances: np.ndarray, y: pd.Series) -> np.ndarray:
    return np.unique(y)[chances.argmax(1)]


# The recipe


def test_settings_are_one_or_several_texts_or_trees(X: pd.DataFrame, y: pd.Series) -> None:
    for settings in ("split.valid=0.3", {"split": {"valid": 0.3}}, ["split.valid=0.3"], ({"split": {"valid": 0.3}},)):
        recipe = MultimodalClassifier("fast", settings=settings)._recipe("classification")
        assert recipe.split.valid == 0.3
    with pytest.raises(ConsilienceError, match=r"split\.vali does not exist"):
        MultimodalClassifier(settings="split.vali=0.3").fit(X, y)
    with pytest.raises(ConsilienceError, match="there is no preset 'fats'"):
        MultimodalClassifier("fats").fit(X, y)


def test_a_recipe_is_a_file_over_the_preset_or_stands_alone(X: pd.DataFrame, y: pd.Series, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("target: verdict\nselect: {only: linear}\nseed: 3\n")
    file = MultimodalClassifier("fast", recipe=tmp_path / "recipe.yaml", settings=LINEAR[1]).fit(X, y)
    assert (file.run_.schema.target, file.run_.recipe.seed) == ("verdict", 3)
    whole = make_recipe("verdict", preset="fast", settings=[{"select": {"only": "linear"}, "seed": 3}])
    model = MultimodalClassifier("best", recipe=whole, settings=LINEAR[1]).fit(X, y)
    assert model.run_.recipe == file.run_.recipe
    assert clone(model).recipe == whole
    assert MultimodalClassifier(recipe=whole, random_state=5, metric="macro_f1")._recipe("classification") == whole.model_copy(
        update={"seed": 5, "metric": "macro_f1"}
    )


def test_a_recipe_that_contradicts_is_refused_with_all_problems(X: pd.DataFrame, y: pd.Series) -> None:
    model = classifier("task.kind=regression", "target=note", "split.folds=4", "weight=age", "split.group=ward")
    assert problems(model, X, y, sample_weight=np.ones(120), groups=np.ones(120)) == [
        "task.kind is regression, but y asks for classification",
        "X has the column 'note', the target of the recipe",
        "split.folds is set, but an estimator has no test part",
        "weight names the column 'age', and sample_weight is given",
        "split.group names the column 'ward', and groups is given",
    ]
    assert problems(classifier(metric="rmse"), X, y) == ["the metric is 'rmse'"]
    run = classifier("task.class_weight=balanced", "split.group=ward").fit(X, y).run_
    assert run.recipe.task is not None
    assert run.recipe.task.config.model_dump()["class_weight"] == "balanced"
    assert run.schema.role("group") == "ward"


def test_the_seed_fixes_everything(X: pd.DataFrame, y: pd.Series) -> None:
    first = classifier().fit(X, y)
    assert np.array_equal(first.predict_proba(X), classifier().fit(X, y).predict_proba(X))
    assert np.array_equal(first.predict_proba(X), classifier(random_state=0).fit(X, y).predict_proba(X))
    other = classifier(random_state=np.int64(7)).fit(X, y)
    assert not np.array_equal(first.run_.splits.valid, other.run_.splits.valid)
    drawn = classifier(random_state=np.random.RandomState(7))._recipe("classification").seed
    assert drawn == np.random.RandomState(7).randint(2**31 - 1)


# In scikit-learn's tools


def test_cross_validation_in_several_processes_is_that_in_one(X: pd.DataFrame, y: pd.Series) -> None:
    alone = cross_validate(classifier(), X, y, cv=2, scoring=["accuracy", "neg_log_loss"], return_estimator=True)
    spread = cross_validate(classifier(), X, y, cv=2, scoring=["accuracy", "neg_log_loss"], return_estimator=True, n_jobs=2)
    for name in ("test_accuracy", "test_neg_log_loss"):
        assert np.array_equal(alone[name], spread[name])
    assert alone["test_accuracy"].min() > 0.7
    assert np.array_equal(alone["estimator"][0].predict_proba(X), spread["estimator"][0].predict_proba(X))


def test_a_pickle_holds_the_model_and_no_table(X: pd.DataFrame, y: pd.Series) -> None:
    long = X.assign(note=X["note"] + " and so on" * 1000)
    model = classifier().fit(long, y)
    data = pickle.dumps(model)
    assert len(data) < 100_000  # a cell of text has 10,000 letters
    assert np.array_equal(pickle.loads(data).predict_proba(long), model.predict_proba(long))


@pytest.mark.parametrize("take", [lambda X: X, pl.from_pandas, pa.Table.from_pandas], ids=["pandas", "polars", "arrow"])
def test_rows_of_every_table_can_be_drawn(take: Callable[[Any], Any], X: pd.DataFrame, y: pd.Series) -> None:
    assert cross_val_score(classifier(), take(X), y, cv=2).min() > 0.7


def test_grids_search_presets_and_settings(X: pd.DataFrame, y: pd.Series) -> None:
    grid = {"settings": [LINEAR, (*LINEAR, "predictors.linear.strength=1000.0")]}
    search = GridSearchCV(MultimodalClassifier("fast"), grid, cv=2, scoring="neg_log_loss").fit(X, y)
    assert search.best_params_ == {"settings": LINEAR}
    assert search.best_estimator_.run_.recipe.predictors["linear"].config.model_dump()["strength"] == 0.01
    presets = GridSearchCV(classifier(), {"preset": ["fast", "balanced"]}, cv=2).fit(X, y)
    assert presets.cv_results_["mean_test_score"][0] == presets.cv_results_["mean_test_score"][1] > 0.7


def test_pipelines(X: pd.DataFrame, y: pd.Series) -> None:
    def shorten(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(note=frame["note"].str.slice(0, 20))

    columns = ColumnTransformer([("numbers", StandardScaler(), ["age", "dose"])], remainder="passthrough")
    made: Any = make_pipeline(FunctionTransformer(shorten), columns, classifier()).fit(X, y)
    assert made.score(X, y) > 0.8
    assert made[-1].run_.schema["tabular"].columns == ("x0", "x1", "x3")
    framed: Any = make_pipeline(clone(columns).set_output(transform="pandas"), classifier()).fit(X, y)
    assert framed[-1].feature_names_in_.tolist() == ["numbers__age", "numbers__dose", "remainder__note", "remainder__ward"]
    assert framed.predict(X).tolist() == framed.set_params(multimodalclassifier__random_state=0).fit(X, y).predict(X).tolist()


def test_voting(X: pd.DataFrame, y: pd.Series) -> None:
    votes = VotingClassifier([("one", classifier()), ("two", classifier(random_state=1))], voting="soft").fit(X, y)
    assert votes.score(X, y) > 0.8


def test_what_is_trained_can_be_shown(X: pd.DataFrame, y: pd.Series, capsys: pytest.CaptureFixture[str]) -> None:
    classifier().fit(X, y)
    assert capsys.readouterr().err == ""
    classifier(verbose=True).fit(X, y)
    assert "120 rows of the table; classification into 3 classes" in capsys.readouterr().err


# The page


def test_the_page_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frame: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    rows = frame.iloc[:60]
    sold = (rows["answer"] == "calm").to_numpy()
    (tmp_path / "photos").mkdir()
    for row in range(60):
        pixels = np.full((16, 16, 3), 90 + 60 * sold[row]) + rng.normal(0, 10, (16, 16, 3))
        PIL.Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / f"{row}.png")
    listings = {"note": rows["note"], "photo": [f"{row}.png" for row in range(60)], "rooms": rng.integers(1, 7, 60)}
    made = pd.DataFrame(listings | {"price": rows["dose"], "sold": np.where(sold, "yes", "no")})
    made.to_csv(tmp_path / "listings.csv", index=False)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "docs/estimators.md", "exec"), names)
    model, X = names["model"], names["X"]
    assert {item.modality for item in model.run_.schema.inputs} == {"text", "image", "tabular"}
    assert model.predict_proba(X[:3]).shape == (3, 2)
    assert cs.load("model").predict(X, "photos") == model.predict(X).tolist()
    assert set(names["search"].best_params_) == {"settings"}
    settings = re.search(r"`settings=(\{.*?\}\})`", PAGE)
    assert settings is not None
    assert MultimodalClassifier(settings=eval(settings[1]))._recipe("classification").inputs["note"].columns == ("note",)
