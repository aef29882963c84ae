"""The estimators, by scikit-learn's own checks and inside its tools. The models are one linear model without a search.

The intervals of metrics are left away: nothing here reads them, and they take half of the time of a fit on few rows.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.utils.estimator_checks import estimator_checks_generator

import consilience as cs
from consilience import MultimodalClassifier, MultimodalRegressor, pipeline
from consilience.errors import ConsilienceError
from consilience.recipe import make_recipe

PAGE = (Path(__file__).parents[1] / "docs" / "estimators.md").read_text(encoding="utf-8")
LINEAR = ("select.only=linear", "predictors.linear.strength=0.01")

NOT_APPLICABLE = {
    "check_sample_weight_equivalence_on_dense_data": "the validation rows are drawn from the rows, whatever they weigh: a row "
    "twice may be drawn twice",
}


@pytest.fixture(autouse=True)
def _no_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "estimate", lambda *_: {})


def classifier(*settings: Any, **more: Any) -> MultimodalClassifier:
    return MultimodalClassifier("fast", settings=(*LINEAR, *settings), **more)


def regressor(*settings: Any, **more: Any) -> MultimodalRegressor:
    return MultimodalRegressor("fast", settings=(*LINEAR, *settings), **more)


def labels(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    return frame.drop(columns="answer"), frame["answer"]


@pytest.fixture
def frame(table: Callable[..., pa.Table]) -> pd.DataFrame:
    """120 rows of texts, numbers and categories with gaps, and `answer`, one of three."""
    made = table().drop_columns(["photo"]).to_pandas()
    return made.assign(age=made["age"].astype(float), dose=made["dose"].astype(float))


# scikit-learn's checks


@pytest.mark.parametrize("estimator", [classifier(), regressor()], ids=lambda estimator: type(estimator).__name__)
def test_scikit_learns_checks(estimator: Any) -> None:
    """One test for all, because they are many and their names say no more than the failure does."""
    passed: list[str] = []
    failed: dict[str, BaseException] = {}
    for made, check in estimator_checks_generator(estimator, mark=None):
        assert isinstance(check, partial)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's checks warn of what they try
            name = check.func.__name__
            try:
                check(made)
                passed.append(name)
            except (Exception, pytest.skip.Exception) as error:
                failed[name] = error
    assert len(passed) > 50
