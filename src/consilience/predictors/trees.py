"""Gradient-boosted trees on the table's columns and the out-of-fold linear scores of every input.

Columns go in as they are: numbers unscaled, categories as categories, missing as missing. What has no columns (text,
images) goes in as the scores of a linear model on its tokens, and so do the column inputs beside their columns: a tree
needs many splits for a sum that a linear model has at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from consilience import component
from consilience.boosted import Boosted
from consilience.data.schema import modality
from consilience.data.view import Present, View
from consilience.encoders.base import Encoder
from consilience.predictors.base import Context, Predictor, make_encoder
from consilience.progress import Budget
from consilience.tasks.base import Task
from consilience.train.features import Features, encoders_state, fit_encoders, part, restore_encoders
from consilience.train.stacking import Rows, Scorers, labelled
from consilience.train.threads import SMALL, one_thread
from consilience.types import Schema, State

PATIENCE = 15
"""Rounds without a better validation loss after which boosting stops."""

MOST_TREES = 4000
"""A round grows one tree for every class; with many classes there are fewer rounds, so that time stays bounded."""


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
            path = modality(schema[name].modality).encoders().get("raw")
            if path is not None:
                cls = component.load(path)
                self.columns[name] = cls(config=cls.Config(), input=schema[name])  # type: ignore[attr-defined]
        self.check_names("strengths", config.strengths)
        self.scorers = Scorers(
            {name: Features({name: make_encoder(config, schema[name])}) for name in self.inputs}, config.strengths
        )
        self.rounds = config.stop
        self.boosted: Boosted | None = None
        self.outputs = 0

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
        self.outputs = task.outputs
        fitted = labelled(view, train, task, balance=True)
        held_out = labelled(view, valid, task, balance=False) if valid is not None else None
        fit_encoders(self.columns, view, train, context.seed)
        scores = self.scorers.fit(view, fitted, held_out, task, self.options.folds, context.seed)
        matrix = self._matrix(view, train, self.present(view, train), scores)
        self._boost(view, matrix, fitted, held_out if self.rounds is None else None, int(rng.integers(2**31)))

    def settled(self) -> Config:
        return self.options.model_copy(update={"stop": self.rounds, "strengths": self.scorers.strengths})

    def raw(self, view: View, rows: np.ndarray, present: Present) -> np.ndarray:
        assert self.boosted is not None, "fit or restore first"
        raw = self.boosted.raw(self._matrix(view, rows, present, self.scorers.scores(view, rows, present)))
        # Two classes have one sum, the log-odds of the second: the first stands at zero.
        return np.concatenate([np.zeros_like(raw), raw], axis=1) if self.outputs == 2 else raw

    def state(self) -> State:
        assert self.boosted is not None, "fit or restore first"
        columns, scorers = encoders_state(self.columns), self.scorers.state()
        arrays = {f"columns/{key}": value for key, value in columns.arrays.items()}
        arrays |= {f"scorers/{key}": value for key, value in scorers.arrays.items()}
        arrays |= {f"boosted/{key}": value for key, value in self.boosted.arrays().items()}
        return State({"columns": columns.json, "scorers": scorers.json}, arrays)

    def restore(self, state: State, task: Task) -> None:
        self.outputs = task.outputs
        restore_encoders(self.columns, State(state.json.get("columns", {}), part(state.arrays, "columns")))
        self.scorers.restore(State(state.json.get("scorers", {}), part(state.arrays, "scorers")), task.outputs)
        width = sum(encoder.width for encoder in self.columns.values()) + task.outputs * len(self.inputs)
        self.boosted = Boosted.from_arrays(part(state.arrays, "boosted"), width)

    def _boost(self, view: View, matrix: np.ndarray, fitted: Rows, held_out: Rows | None, seed: int) -> None:
        classes = np.issubdtype(fitted.encoded.dtype, np.integer)
        most = max(1, min(self.options.iterations, MOST_TREES // max(1, self.outputs if self.outputs > 2 else 1)))
        model = (HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor)(
            learning_rate=self.options.rate,
            max_leaf_nodes=self.options.leaves,
            max_iter=self.rounds or most,
            l2_regularization=self.options.penalty,
            max_features=self.options.share,
            min_samples_leaf=int(np.clip(len(fitted.rows) // 50, 2, 20)),
            categorical_features=self._categorical() or None,  # type: ignore[arg-type]
            early_stopping=held_out is not None,  # type: ignore[arg-type]
            n_iter_no_change=PATIENCE,
            random_state=seed,
        )
        validation: dict[str, np.ndarray] = {}
        if held_out is not None:
            present = self.present(view, held_out.rows)
            check = self._matrix(view, held_out.rows, present, self.scorers.scores(view, held_out.rows, present))
            validation = {"X_val": check, "y_val": held_out.encoded, "sample_weight_val": held_out.weight}
        # Where no training row has a value there is nothing to split at, but scikit-learn cannot say so.
        matrix = np.where(np.isnan(matrix).all(0), 0.0, matrix)
        with one_thread(matrix.size < SMALL):
            model.fit(matrix, fitted.encoded, sample_weight=fitted.weight, **validation)
        # The first of the validation scores is that of no round at all.
        self.rounds = max(1, int(np.argmax(model.validation_score_))) if validation else self.rounds or most
        self.boosted = Boosted.from_sklearn(model, self.rounds)

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
