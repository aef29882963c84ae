"""Gradient-boosted trees on the table's columns and the out-of-fold linear scores of every input.

Columns go in as they are: numbers unscaled, categories as categories, missing as missing. What has no columns (text,
images) goes in as the scores of a linear model on its tokens, and so do the column inputs beside their columns: a tree
needs many splits for a sum that a linear model has at once.

Labels get trees of their own each, that see the scores of all labels. They have one number of rounds, by the sum of their
validation losses: a rare label has too few validation rows to choose by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from consilience import component
from consilience.boosted import Boosted
from consilience.data.schema import modality_of
from consilience.data.view import Present, View
from consilience.encoders.base import Encoder
from consilience.predictors.base import Context, Predictor, fitted_on, make_encoder
from consilience.progress import Budget
from consilience.tasks.base import Task
from consilience.train.features import Features, encoders_state, fit_encoders, part, restore_encoders
from consilience.train.stacking import Scorers, labelled
from consilience.train.threads import SMALL, one_thread
from consilience.types import Schema, State

Grown = tuple[np.ndarray, np.ndarray, np.ndarray]
"""What trees are grown on: matrix [R, F], encoded target [R] or [R, C], weight [R]."""

PATIENCE = 15
"""Rounds without a better validation loss after which boosting stops."""

MOST_TREES = 4000
"""A round grows one tree for every class or label; with many there are fewer rounds, so that time stays bounded."""


class Trees(Predictor):
    """raw = sum of the trees' leaves over [columns, out-of-fold scores of the inputs]."""

    class Config(Predictor.Config):
        iterations: int = Field(300, ge=1, description="The most boosting rounds.")
        stop: int | None = Field(None, ge=1, description="Exactly so many rounds; default: chosen on the validation rows.")
        rate: float = Field(0.05, gt=0, le=1, description="Shrinkage of each round.")
        leaves: int = Field(7, ge=2, description="The most leaves of a tree.")
        penalty: float = Field(1.0, ge=0, description="L2 penalty on the leaves.")
        share: float = Field(0.5, gt=0, le=1, description="Share of the columns that a split may choose from.")
        folds: int = Field(5, ge=2, description="Folds of the out-of-fold scores.")
        strengths: dict[str, Annotated[float, Field(gt=0)]] = Field(
            {}, description="L2 penalty of an input's scores; default: chosen on validation."
        )

    def __init__(self, *, config: Config, schema: Schema) -> None:
        super().__init__(config=config, schema=schema)
        self.options = config
        self.columns: dict[str, Encoder] = {}
        for name in self.inputs:
            path = modality_of(schema[name]).encoders().get("raw")
            if path is not None and not schema[name].many:  # a list of columns is no column
                cls = component.load(path)
                self.columns[name] = cls(config=cls.Config(), input=schema[name])  # type: ignore[attr-defined]
        self.check_names("strengths", config.strengths)
        self.scorers = Scorers(
            {name: Features({name: make_encoder(config, schema[name])}) for name in self.inputs}, config.strengths
        )
        self.rounds = config.stop
        self.boosted: Boosted | None = None
        self.pair = False  # two classes

    def fit(
        self,
        view: View,
        train: np.ndarray,
        valid: np.ndarray | None,
        context: Context,
        rng: np.random.Generator,
        budget: Budget,
    ) -> None:
        task = context.task
        self.pair = task.link == "softmax" and task.outputs == 2
        train, valid = fitted_on(train, valid, context, budget)
        fitted = labelled(view, train, task, balance=True)
        held_out = labelled(view, valid, task, balance=False) if valid is not None else None
        fit_encoders(self.columns, view, train, context.seed)
        scores = self.scorers.fit(view, fitted, held_out, task, self.options.folds, context.seed)
        matrix = self._matrix(view, train, self.present(view, train), scores)
        # Where no training row has a value there is nothing to split at, but scikit-learn cannot say so.
        matrix = np.where(np.isnan(matrix).all(0), 0.0, matrix)
        check = None
        if held_out is not None and self.rounds is None:
            present = self.present(view, held_out.rows)
            scores = self.scorers.scores(view, held_out.rows, present)
            check = (self._matrix(view, held_out.rows, present, scores), held_out.encoded, held_out.weight)
        boost = self._boost_labels if task.link == "sigmoid" else self._boost
        with one_thread(matrix.size < SMALL):
            boost((matrix, fitted.encoded, fitted.weight), check, task, int(rng.integers(2**31)))

    def settled(self) -> Config:
        return self.options.model_copy(update={"stop": self.rounds, "strengths": self.scorers.strengths})

    def encoded_by(self) -> Mapping[str, Encoder]:
        return self.scorers.encoders

    def raw(self, view: View, rows: np.ndarray, present: Present) -> np.ndarray:
        assert self.boosted is not None, "fit or restore first"
        raw = self.boosted.raw(self._matrix(view, rows, present, self.scorers.scores(view, rows, present)))
        # Two classes have one sum, the log-odds of the second: the first stands at zero.
        return np.concatenate([np.zeros_like(raw), raw], axis=1) if self.pair else raw

    def state(self) -> State:
        assert self.boosted is not None, "fit or restore first"
        columns, scorers = encoders_state(self.columns), self.scorers.state()
        arrays = {f"columns/{key}": value for key, value in columns.arrays.items()}
        arrays |= {f"scorers/{key}": value for key, value in scorers.arrays.items()}
        arrays |= {f"boosted/{key}": value for key, value in self.boosted.arrays().items()}
        return State({"columns": columns.json, "scorers": scorers.json}, arrays)

    def restore(self, state: State, task: Task) -> None:
        self.pair = task.link == "softmax" and task.outputs == 2
        restore_encoders(self.columns, State(state.json.get("columns", {}), part(state.arrays, "columns")))
        self.scorers.restore(State(state.json.get("scorers", {}), part(state.arrays, "scorers")), task)
        width = sum(encoder.width for encoder in self.columns.values()) + task.outputs * len(self.inputs)
        self.boosted = Boosted.from_arrays(part(state.arrays, "boosted"), width)

    def _boost(self, train: Grown, check: Grown | None, task: Task, seed: int) -> None:
        most = max(1, min(self.options.iterations, MOST_TREES // (1 if self.pair else task.outputs)))
        patience = PATIENCE if check is not None else None
        model = _grow(self._model(task.link == "softmax", len(train[0]), self.rounds or most, patience, seed), train, check)
        # The first of the validation scores is that of no round at all.
        self.rounds = self.rounds or (most if check is None else max(1, int(np.argmax(model.validation_score_))))
        self.boosted = Boosted.from_sklearn(model, self.rounds)

    def _boost_labels(self, train: Grown, check: Grown | None, task: Task, seed: int) -> None:
        """A model for each label; the label's prior stands where every row has it, or none."""
        most = max(1, min(self.options.iterations, MOST_TREES // task.outputs))
        every: list[Any] = task.prior().tolist()
        for label, encoded in enumerate(train[1].T):
            if 0 < encoded.sum() < len(encoded):
                patience = most if check is not None else None  # validated, but never stopped by itself
                every[label] = self._model(True, len(train[0]), most, patience, seed + label)
        models = {label: model for label, model in enumerate(every) if not isinstance(model, float)}
        rounds, best = 0, most if self.rounds is None else self.rounds
        while rounds < (best if check is None else min(best + PATIENCE, most)):
            rounds = best if check is None else min(rounds + PATIENCE, most)
            for label, model in models.items():
                model.set_params(max_iter=rounds, warm_start=True)  # the trees so far stay as they are
                _grow(model, _of(label, train), None if check is None else _of(label, check))
            if check is not None:
                best = max(1, int(np.argmax(np.sum([model.validation_score_ for model in models.values()], axis=0))))
        self.rounds = best
        self.boosted = Boosted.from_several(every, best)

    def _model(self, classes: bool, rows: int, rounds: int, patience: int | None, seed: int) -> Any:
        """A model of scikit-learn that is not fitted; with a patience it is validated round by round."""
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor  # a second to load

        return (HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor)(
            learning_rate=self.options.rate,
            max_leaf_nodes=self.options.leaves,
            max_iter=rounds,
            l2_regularization=self.options.penalty,
            max_features=self.options.share,
            min_samples_leaf=int(np.clip(rows // 50, 2, 20)),
            categorical_features=self._categorical() or None,  # type: ignore[arg-type]
            early_stopping=patience is not None,  # type: ignore[arg-type]
            n_iter_no_change=patience or PATIENCE,
            random_state=seed,
        )

    def _matrix(self, view: View, rows: np.ndarray, present: Present, scores: Mapping[str, np.ndarray]) -> np.ndarray:
        """[R, F] float64 with NaN for what is missing: raw columns, then scores."""
        blocks = [
            np.where(present[name][:, None], view.pooled(encoder, name, rows), np.nan) for name, encoder in self.columns.items()
        ]
        return np.concatenate([*blocks, *(scores[name] for name in self.inputs)], axis=1)

    def _categorical(self) -> list[int]:
        """Columns of the matrix that hold category codes."""
        found, start = [], 0
        for encoder in self.columns.values():
            found += [start + position for position in encoder.categorical]
            start += encoder.width
        return found


def _of(label: int, rows: Grown) -> Grown:
    return rows[0], rows[1][:, label] > 0, rows[2]


def _grow(model: Any, train: Grown, check: Grown | None) -> Any:
    """Fit a model of scikit-learn to `train`, validated on `check`.

    It is not told of weights that are all 1: it would grow the same trees, but cut the columns 20 to 50 times slower.
    """
    parts = {"": train} if check is None else {"": train, "_val": check}
    weighted = any((rows[2] != 1).any() for rows in parts.values())
    given = {f"sample_weight{name}": rows[2] for name, rows in parts.items()} if weighted else {}
    if check is not None:
        given |= {"X_val": check[0], "y_val": check[1]}
    return model.fit(train[0], train[1], **given)
