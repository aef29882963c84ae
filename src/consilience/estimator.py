"""scikit-learn's interface to `fit` and `Run`, for pipelines, cross-validation and grids.

Arguments are kept as they are given and read in `fit`, as scikit-learn asks. A table becomes Arrow as it does for `cs.fit`;
an array has the columns x0, x1, ... The target stands beside it as one more column, with the user's own labels, so that
`run_` is a run like any other: it can be saved, and answers files.

There is no test part: scikit-learn's splitters keep it away from `fit`. Validation rows are drawn from what `fit` is given,
and what is chosen is trained on all of it in the end, unless the recipe says `refit: false`. Nothing is done about pickling:
what joblib makes of the attributes is for the processes of one program. To keep a model, save `run_`.
"""

# pyright: reportArgumentType=false
# scikit-learn is not typed: pyright takes the type of a default for that of the argument.

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, assert_all_finite, check_array, check_consistent_length, check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from consilience.data.table import is_empty, read_table
from consilience.errors import Problem, fail, raise_all
from consilience.pipeline import fit
from consilience.progress import Bars
from consilience.recipe import Recipe, make_recipe, merge, setting, validate
from consilience.run import Run
from consilience.tasks.base import label_key
from consilience.types import Cell

__all__ = ["MultimodalClassifier", "MultimodalRegressor"]

Settings = Mapping[str, Any] | str
"""A sparse recipe, {"split": {"valid": 0.2}}, or one key of it, "split.valid=0.2"."""


class _Multimodal(BaseEstimator):
    """What both estimators are: the table of X, the recipe of the arguments, and the run."""

    run_: Run
    n_features_in_: int

    def __init__(
        self,
        preset: str = "balanced",
        *,
        recipe: Recipe | Path | str | None = None,
        settings: Settings | Sequence[Settings] = (),
        metric: str | None = None,
        media_root: Path | str | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        """What `cs.fit` takes.

        preset        fast, balanced or best
        recipe        a whole Recipe, which the preset does not touch, or a YAML file that is laid over the preset
        settings      laid over both: "split.valid=0.2", {"split": {"valid": 0.2}}, or several of these
        metric        what selection and early stopping optimise; default: by task
        media_root    the folder that media paths are relative to; default: the working folder
        random_state  the seed; default: that of the recipe, so that two fits are equal to the bit
        verbose       show what is trained
        """
        self.preset = preset
        self.recipe = recipe
        self.settings = settings
        self.metric = metric
        self.media_root = media_root
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "run_")

    def _table(self, X: Any, *, reset: bool) -> pa.Table:
        """X as Arrow, its columns checked against those of `fit`; in `fit` (`reset`) they are noted."""
        if (isinstance(X, Mapping) and not issparse(X)) or (hasattr(X, "__arrow_c_stream__") and getattr(X, "ndim", 2) == 2):
            frame = X if hasattr(X, "shape") else read_table(X).data
            validate_data(self, frame, reset=reset, skip_check_array=True)
            table = _frame(frame)
        else:
            cells = np.array(X, dtype=object) if isinstance(X, list | tuple) else X  # else [1, "a"] is made text
            table = _array(validate_data(self, cells, reset=reset, dtype=None, ensure_all_finite=False))
        if reset:
            return table
        # An array that follows a table has no names: scikit-learn has warned of it.
        return table.rename_columns([column.column for column in self.run_.schema.columns[: self.n_features_in_]])

    def _fit(self, table: pa.Table, target: Sequence[Cell], name: Any, kind: str, sample_weight: Any, groups: Any) -> Self:
        """Train on `table` with the cells `target` beside it, under the name that y had, if any."""
        check_consistent_length(table, target, sample_weight, groups)
        if len(table) < 2:
            raise fail("X has one sample only", "rows to train on and rows to choose on", "bring more rows")
        user = self._recipe(kind)
        raise_all(_conflicts(user, table.column_names, kind, sample_weight is not None, groups is not None))
        name = name if isinstance(name, str) and name.strip() else "target"
        table, name = _beside(table, user.target or name, target)
        ours: dict[str, Any] = {"target": name, "task": {"kind": kind}, "split": {"test": 0.0}}
        if sample_weight is not None:
            table, ours["weight"] = _beside(table, "sample_weight", sample_weight)
        if groups is not None:
            table, ours["split"]["group"] = _beside(table, "group", np.asarray(groups))
        recipe = validate(merge(user.model_dump(mode="json"), ours))
        self.run_ = fit(table, recipe=recipe, media_root=self.media_root, progress=Bars() if self.verbose else None)
        return self

    def _recipe(self, kind: str) -> Recipe:
        """The recipe as the arguments have it. What they say of the task without its kind is said of the task `kind`."""
        several = [self.settings] if isinstance(self.settings, str | Mapping) else self.settings
        layers = [dict(setting(item) if isinstance(item, str) else item) for item in several]
        for layer in layers:
            if isinstance(layer.get("task"), Mapping):
                layer["task"] = {"kind": kind, **layer["task"]}
        if self.metric is not None:
            layers.append({"metric": self.metric})
        if self.random_state is not None:
            layers.append({"seed": _seed(self.random_state)})
        if not isinstance(self.recipe, Recipe):
            file = Path(self.recipe) if self.recipe is not None else None
            return make_recipe(preset=self.preset, file=file, settings=layers)
        tree = self.recipe.model_dump(mode="json")
        for layer in layers:
            tree = merge(tree, layer)
        return validate(tree)


class MultimodalClassifier(ClassifierMixin, _Multimodal):
    """Classification of rows with text, pictures, sound, series, numbers and categories, whatever of them is there.

    y holds one label a row, or 0 and 1 in a column for each label, of which a row may have several.

    classes_            the labels, sorted; of a y with several columns their names, or numbers
    n_features_in_      the number of columns; feature_names_in_ their names, where X has them as text
    run_                the run: save, predictions, evaluate, selection, metrics
    """

    classes_: np.ndarray

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        assert tags.classifier_tags is not None
        tags.classifier_tags.multi_label = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """X: a table, a mapping of columns or a 2-D array; rows of one of the `groups` stay together when some are drawn for
        validation. Raises ConsilienceError, TypeError or ValueError for what is no X or y, before anything is trained.
        """
        table, labels = self._table(X, reset=True), self._given(y)
        weight = _weights(sample_weight, table)
        if several := type_of_target(labels, input_name="y", raise_unknown=True) == "multilabel-indicator":
            classes = np.arange(labels.shape[1])
            if hasattr(y, "columns"):
                classes = np.array(y.column_names if isinstance(y, pa.Table) else [str(name) for name in y.columns])
            target = [[classes[place].item() for place in np.flatnonzero(row)] for row in labels]
        else:
            check_classification_targets(labels)
            labels = column_or_1d(labels, warn=True)
            classes, target = np.unique(labels), labels.tolist()
            _check_weighed(labels, weight)
        if len({label_key(label) for label in classes.tolist()}) < len(classes):
            raise fail(f"labels of y that differ are written alike: {classes.tolist()[:10]}", "different labels", "rename them")
        self._fit(table, target, getattr(y, "name", None), "multilabel" if several else "classification", weight, groups)
        self.classes_, self._indicator = classes, labels.dtype if several else None
        return self

    def predict(self, X: Any) -> np.ndarray:
        """[R] labels, or [R, C] of 0 and 1, C = len(classes_)."""
        check_is_fitted(self)
        answers = self.run_.predict(self._table(X, reset=False), self.media_root)
        place = {label_key(label): index for index, label in enumerate(self.classes_.tolist())}
        if self._indicator is None:
            return self.classes_[[place[label_key(answer)] for answer in answers]]
        found = np.zeros((len(answers), len(place)), dtype=self._indicator)
        for row, labels in zip(found, answers, strict=True):
            row[[place[label_key(label)] for label in labels]] = 1
        return found

    def predict_proba(self, X: Any) -> np.ndarray:
        """[R, C] probabilities in the order of `classes_`; those of several labels are each between 0 and 1."""
        check_is_fitted(self)
        view = self.run_.view(self._table(X, reset=False), self.media_root)
        columns = self.run_.task.columns(self.run_.answer(view, np.arange(len(view))).scores)
        never = np.zeros(len(view))  # a label that no row of y had
        return np.stack([columns.get(f"probability_{label_key(label)}", never) for label in self.classes_.tolist()], axis=1)

    def _given(self, y: Any) -> np.ndarray:
        if y is None:
            raise fail(f"{type(self).__name__} requires y to be passed, but the target y is None", "a label a row")
        labels = check_array(y, ensure_2d=False, dtype=None, ensure_all_finite=False, input_name="y")
        empty = sum(map(is_empty, labels.ravel().tolist()))
        if empty:
            raise fail(f"{empty} cells of y are empty or NaN", "a label in every row", "leave these rows out")
        assert_all_finite(labels, input_name="y")
        return labels


class MultimodalRegressor(RegressorMixin, _Multimodal):
    """Regression of a number on rows with text, pictures, sound, series, numbers and categories, whatever of them is there.

    n_features_in_      the number of columns; feature_names_in_ their names, where X has them as text
    run_                the run: save, predictions, evaluate, selection, metrics
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """X: a table, a mapping of columns or a 2-D array; rows of one of the `groups` stay together when some are drawn for
        validation. Raises ConsilienceError, TypeError or ValueError for what is no X or y, before anything is trained.
        """
        table = self._table(X, reset=True)
        if y is None:
            raise fail(f"{type(self).__name__} requires y to be passed, but the target y is None", "a number a row")
        values = check_array(column_or_1d(y, warn=True), ensure_2d=False, dtype=np.float64, input_name="y")
        weight = _weights(sample_weight, table)
        return self._fit(table, values.tolist(), getattr(y, "name", None), "regression", weight, groups)

    def predict(self, X: Any) -> np.ndarray:
        """[R] float64."""
        check_is_fitted(self)
        return np.array(self.run_.predict(self._table(X, reset=False), self.media_root), dtype=np.float64)


def _frame(X: Any) -> pa.Table:
    """A table of pandas and its like. Columns of pandas that are numbered only are called as those of an array."""
    table = read_table(X).data
    if isinstance(X, pa.Table) or not hasattr(X, "columns"):
        return table
    table = table.select([str(name) for name in X.columns])  # an index is no column, even if it has a name
    named = any(isinstance(name, str) for name in X.columns)
    return table if named else table.rename_columns(_numbered(table.num_columns))


def _array(cells: np.ndarray) -> pa.Table:
    """An array as a table, its numbers as they are; NaN is an empty cell to everyone who reads one."""
    names = _numbered(cells.shape[1])
    if cells.dtype.kind == "O":
        return read_table(dict(zip(names, cells.T.tolist(), strict=True))).data
    columns = cells.T.astype(np.float64) if cells.dtype.kind == "f" else cells.T  # Arrow has no numbers of 128 bits
    return pa.table({name: pa.array(column) for name, column in zip(names, columns, strict=True)})


def _numbered(columns: int) -> list[str]:
    return [f"x{index}" for index in range(columns)]


def _beside(table: pa.Table, name: str, cells: Any) -> tuple[pa.Table, str]:
    """The table with one more column, and what it is called: `name`, made longer until no other column is."""
    while name in table.column_names:
        name += "_"
    return table.append_column(name, pa.array(cells)), name


def _conflicts(user: Recipe, columns: Sequence[str], kind: str, weighted: bool, grouped: bool) -> Iterator[Problem]:
    """What the recipe says that cannot go with what `fit` was given."""
    if user.task is not None and user.task.kind != kind:
        yield Problem(f"task.kind is {user.task.kind}, but y asks for {kind}", kind, "remove it, or use the other estimator")
    if user.target in columns:
        yield Problem(f"X has the column {user.target!r}, the target of the recipe", "the target as y", "take it out of X")
    if user.split.folds is not None:
        yield Problem("split.folds is set, but an estimator has no test part", do="remove it; use cross_val_score")
    for key, value, given, argument in (
        ("weight", user.weight, weighted, "sample_weight"),
        ("split.group", user.split.group, grouped, "groups"),
    ):
        if value is not None and given:
            yield Problem(f"{key} names the column {value!r}, and {argument} is given", "one of the two", "remove the other")


def _check_weighed(labels: np.ndarray, weight: np.ndarray | None) -> None:
    counted = np.unique(labels if weight is None else labels[weight > 0])
    if len(counted) < 2:
        raise fail(f"y has one class only in rows that weigh: {counted.tolist()}", "at least two classes", "bring other rows")


def _weights(sample_weight: Any, table: pa.Table) -> np.ndarray | None:
    if sample_weight is None:
        return None
    weight = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weight.ndim != 1:
        raise fail(f"sample_weight has {weight.ndim} dimensions", "one number a row", "pass a flat array")
    check_consistent_length(table, weight)
    if not weight.any():
        raise fail("every sample_weight is zero", "a row that counts", "mend the weights")
    return weight


def _seed(random_state: Any) -> int:
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))
