"""Gradient-boosted trees on the table's columns, with one out-of-fold linear score for every other input.

Columns go in as they are: numbers unscaled, categories as categories, missing as missing. An input that has no raw
columns (text, images) goes in as the scores of a linear model on its tokens; on training rows those come from models that
did not see the row (stacking, Wolpert 1992), else the trees would trust them too much. Encoders of these inputs are fitted
once on all training rows: they see no target.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from consilience import component
from consilience.boosted import Boosted
from consilience.data.schema import modality
from consilience.data.split import kfold
from consilience.data.view import Present, View
from consilience.predictors.base import Context, Predictor, make_encoder
from consilience.progress import Budget
from consilience.tasks.base import Task
from consilience.train import linear as solver
from consilience.train.features import Features, encoders_state, fit_encoders, part, restore_encoders
from consilience.types import Schema, State

PATIENCE = 20
"""Rounds without a better validation loss after which boosting stops."""


class Trees(Predictor):
    """raw = sum of the trees' leaves over [columns, out-of-fold scores of the other inputs]."""

    class Config(Predictor.Config):
        iterations: int = Field(400, ge=1, description="The most boosting rounds.")
        stop: int | None = Field(None, ge=1, description="Exactly so many rounds; default: chosen on the validation rows.")
        rate: float = Field(0.06, gt=0, le=1, description="Shrinkage of each round.")
        leaves: int = Field(31, ge=2, description="The most leaves of a tree.")
        folds: int = Field(5, ge=2, description="Folds of the out-of-fold scores.")
        strengths: dict[str, float] = Field({}, description="L2 penalty of an input's scores; default: chosen on validation.")

    def __init__(self, *, config: Config, schema: Schema) -> None:
        super().__init__(config=config, schema=schema)
        self.options = config
        items = {name: schema[name] for name in self.inputs}
        self.columns = {
            name: component.load(modality(item.modality).encoders()["raw"])
            for name, item in items.items()
            if "raw" in modality(item.modality).encoders()
        }
        self.columns = {name: cls(config=cls.Config(), input=items[name]) for name, cls in self.columns.items()}
        self.scored = {
            name: Features({name: make_encoder(config, item)}) for name, item in items.items() if name not in self.columns
        }
        self.strengths = dict(config.strengths)
        self.linear: dict[str, solver.Linear] = {}
        self.rounds = config.stop or 0
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
        fit_encoders(self.columns, view, train, rng)
        encoded = task.encode(view.target(train))
        weight = view.weight(train) * task.balance(encoded)
        held_out = (valid, task.encode(view.target(valid)), view.weight(valid)) if valid is not None else None
        scores = {name: self._fit_scores(name, view, (train, encoded, weight), held_out, task, rng) for name in self.scored}
        matrix = self._matrix(view, train, self.present(view, train), scores)
        classes = np.issubdtype(encoded.dtype, np.integer)
        model = (HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor)(
            learning_rate=self.options.rate,
            max_leaf_nodes=self.options.leaves,
            max_iter=self.rounds or self.options.iterations,
            min_samples_leaf=min(20, max(2, len(train) // 50)),
            categorical_features=self._categorical() or None,
            early_stopping=held_out is not None and not self.rounds,
            n_iter_no_change=PATIENCE,
            random_state=int(rng.integers(2**31)),
        )
        if held_out is None or self.rounds:
            model.fit(matrix, encoded, sample_weight=weight)
            self.rounds = self.rounds or self.options.iterations
        else:
            rows, target, importance = held_out
            check = self._matrix(view, rows, self.present(view, rows))
            model.fit(matrix, encoded, sample_weight=weight, X_val=check, y_val=target, sample_weight_val=importance)
            self.rounds = max(1, int(np.argmax(model.validation_score_)))
        self.boosted = Boosted.from_sklearn(model)

    def settled(self) -> Config:
        return self.options.model_copy(update={"stop": self.rounds, "strengths": self.strengths})

    def raw(self, view: View, rows: np.ndarray, present: Present) -> np.ndarray:
        assert self.boosted is not None, "fit or restore first"
        raw = self.boosted.raw(self._matrix(view, rows, present))
        # Two classes have one sum, the log-odds of the second: the first stands at zero.
        return np.concatenate([np.zeros_like(raw), raw], axis=1) if self.outputs == 2 and raw.shape[1] == 1 else raw

    def state(self) -> State:
        assert self.boosted is not None, "fit or restore first"
        columns = encoders_state(self.columns)
        arrays = {f"columns/{key}": value for key, value in columns.arrays.items()}
        scored = {}
        for name, features in self.scored.items():
            state = features.state()
            scored[name] = state.json
            arrays |= {f"scored/{name}/{key}": value for key, value in state.arrays.items()}
            arrays |= {f"linear/{name}/weights": self.linear[name].weights, f"linear/{name}/bias": self.linear[name].bias}
        arrays |= {f"boosted/{key}": value for key, value in self.boosted.arrays().items()}
        return State({"columns": columns.json, "scored": scored}, arrays)

    def restore(self, state: State, task: Task) -> None:
        self.outputs = task.outputs
        restore_encoders(self.columns, State(state.json.get("columns", {}), part(state.arrays, "columns")))
        width = sum(encoder.width for encoder in self.columns.values())
        for name, features in self.scored.items():
            features.restore(State(state.json.get("scored", {}).get(name, {}), part(state.arrays, f"scored/{name}")))
            arrays = part(state.arrays, f"linear/{name}")
            self.linear[name] = solver.checked(arrays.get("weights"), arrays.get("bias"), features.width, task.outputs)
            width += task.outputs
        self.boosted = Boosted.from_arrays(part(state.arrays, "boosted"), width)

    def _fit_scores(
        self,
        name: str,
        view: View,
        train: tuple[np.ndarray, np.ndarray, np.ndarray],
        valid: tuple[np.ndarray, np.ndarray, np.ndarray] | None,
        task: Task,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Fit the linear model of one input; its out-of-fold raw scores [R, K] for the training rows, NaN where missing."""
        rows, encoded, weight = train
        features = self.scored[name]
        features.fit(view, rows, rng)
        here = view.present(rows, (name,))
        matrix = features.matrix(view, rows, here)
        seen = np.flatnonzero(here[name])
        scores = np.full((len(rows), task.outputs), np.nan)
        if name not in self.strengths:
            assert valid is not None, "without a strength there must be validation rows to choose it"
            check = view.present(valid[0], (name,))
            kept = check[name]
            held_out = (features.matrix(view, valid[0], check)[kept], valid[1][kept], valid[2][kept])
            chosen, _ = solver.choose_linear((matrix[seen], encoded[seen], weight[seen]), held_out, task)
            self.strengths[name] = chosen
        strength = self.strengths[name]
        whole = self.linear[name] = solver.fit_linear(matrix[seen], encoded[seen], weight[seen], task, strength)
        group = view.groups(rows)
        labels = encoded if np.issubdtype(encoded.dtype, np.integer) else None
        folds = kfold(seen, self.options.folds, labels, group, rng)
        for fold in range(self.options.folds):
            fitted, asked = seen[folds != fold], seen[folds == fold]
            model = solver.fit_linear(matrix[fitted], encoded[fitted], weight[fitted], task, strength, whole)
            scores[asked] = model.raw(matrix[asked])
        return scores

    def _matrix(
        self, view: View, rows: np.ndarray, present: Present, scores: dict[str, np.ndarray] | None = None
    ) -> np.ndarray:
        """[R, F] float64 with NaN for what is missing: raw columns, then linear scores (or the `scores` given)."""
        blocks = []
        for name, encoder in self.columns.items():
            blocks.append(np.where(present[name][:, None], view.pooled(encoder, name, rows), np.nan))
        for name, features in self.scored.items():
            if scores is not None:
                blocks.append(scores[name])
            else:
                raw = self.linear[name].raw(features.matrix(view, rows, {name: present[name]}))
                blocks.append(np.where(present[name][:, None], raw, np.nan))
        return np.concatenate(blocks, axis=1)

    def _categorical(self) -> list[int]:
        """Columns of the matrix that hold category codes."""
        found, start = [], 0
        for encoder in self.columns.values():
            found += [start + position for position in encoder.categorical]
            start += encoder.width
        return found
