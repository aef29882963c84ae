"""What a prediction is worth: metric functions of row weights, and bootstrap intervals around them.

`classification`, `multilabel` and `regression` sort and group the rows once and return a measure: weight [R] -> metric by
name. The bootstrap (Efron 1979) is then only many weightings of the same rows: a row drawn twice counts twice. So a
measure must give for integer weights what it would give for repeated rows, and ignore rows of weight 0.

A metric is nan where it is undefined. For the rows of positive weight:
- everything, if there is none;
- roc_auc, if they are all of one class; pr_auc of two classes, if none is of class 1; f1 of two classes, if none is of
  class 1 nor predicted to be;
- of labels, micro_f1 and macro_f1 if no row has any (micro: nor is given any); roc_auc and pr_auc as above;
- mape, if a target is 0; r2, if the target is constant; spearman, if the target or the prediction is.
Macro averages are over the classes or labels that are present (roc_auc: that also have rows against them), so a resample that
misses a rare class does not count it as 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Measure = Callable[[Array], dict[str, float]]
"""weight [R], not negative -> metric by name."""

GREATER_IS_BETTER: Mapping[str, bool] = MappingProxyType(
    {
        "accuracy": True,
        "balanced_accuracy": True,
        "macro_f1": True,
        "f1": True,
        "micro_f1": True,
        "samples_f1": True,
        "subset_accuracy": True,
        "hamming_loss": False,
        "roc_auc": True,
        "pr_auc": True,
        "log_loss": False,
        "ece": False,
        "mae": False,
        "rmse": False,
        "mape": False,
        "r2": True,
        "spearman": True,
    }
)

BINS = 15
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval [low, high], from `n` rows."""

    value: float
    low: float
    high: float
    n: int


def classification(log_probabilities: Array, labels: Array, predicted: Array) -> Measure:
    """Metrics of `log_probabilities` [R, C] float64 and decisions `predicted` [R] against `labels` [R], integers below C.

    accuracy, balanced_accuracy (mean recall), macro_f1, f1 (two classes: of class 1; more: mean over the classes,
    weighted by their rows) judge the decisions; roc_auc, pr_auc (average precision; both macro one-against-rest beyond
    two classes), log_loss and ece the probabilities.
    """
    rows, classes = log_probabilities.shape
    assert classes >= 2, f"{classes} classes are none to tell apart"
    assert labels.shape == predicted.shape == (rows,), f"labels {labels.shape}, predicted {predicted.shape}, {rows} rows"
    assert not np.isnan(log_probabilities).any(), "log-probabilities hold NaN"
    if classes == 2:
        # The odds order rows that log p1 alone cannot tell apart, once p1 rounds to 1.
        odds = log_probabilities[:, 1] - log_probabilities[:, 0]
        ranking = _ranking(odds[None], (labels == 1)[None])
    else:
        ranking = _ranking(log_probabilities.T, labels == np.arange(classes)[:, None])
    right = log_probabilities.argmax(axis=1) == labels
    calibration = _calibration(np.exp(log_probabilities.max(axis=1))[:, None], right[:, None])
    decisions = _decisions(labels, predicted, classes)
    surprise = -log_probabilities[np.arange(rows), labels]

    def measure(weight: Array) -> dict[str, float]:
        return decisions(weight) | ranking(weight) | {"log_loss": _mean(surprise, weight)} | calibration(weight)

    return measure


def multilabel(log_odds: Array, labels: Array, predicted: Array) -> Measure:
    """Metrics of `log_odds` [R, C] float64 and decisions `predicted` [R, C] against `labels` [R, C], both 0 or 1.

    Beside those of `label_decisions`: roc_auc and pr_auc (average precision), means over the labels; log_loss, the mean
    cross-entropy of a row's C decisions; ece of all R * C decisions, each taken as a classification into two classes.
    """
    assert labels.shape == log_odds.shape and log_odds.ndim == 2, f"labels {labels.shape}, log-odds {log_odds.shape}"
    assert not np.isnan(log_odds).any(), "log-odds hold NaN"
    decisions, ranking = label_decisions(labels, predicted), _ranking(log_odds.T, labels.T > 0)
    signed = np.where(labels > 0, log_odds, -log_odds)
    surprise = np.logaddexp(0, -signed).mean(axis=1)
    calibration = _calibration(1 / (1 + np.exp(-np.abs(log_odds))), (log_odds > 0) == (labels > 0))

    def measure(weight: Array) -> dict[str, float]:
        return decisions(weight) | ranking(weight) | {"log_loss": _mean(surprise, weight)} | calibration(weight)

    return measure


def label_decisions(labels: Array, predicted: Array) -> Measure:
    """What `predicted` [R, C] is worth against `labels` [R, C], both 0 or 1.

    micro_f1 (of all decisions), macro_f1 (mean over the labels), samples_f1 (mean over the rows; 1 where a row has no label
    and is given none), subset_accuracy (rows with every decision right), hamming_loss (share of wrong decisions).
    """
    assert labels.shape == predicted.shape and labels.ndim == 2, f"labels {labels.shape}, predicted {predicted.shape}"
    wanted, given = labels.astype(np.float64), predicted.astype(np.float64)
    both, wrong = wanted * given, (wanted != given).mean(axis=1)
    size = (wanted + given).sum(axis=1)
    of_row = np.where(size > 0, 2 * both.sum(axis=1) / np.maximum(size, 1), 1.0)

    def measure(weight: Array) -> dict[str, float]:
        hits, support, claimed = weight @ both, weight @ wanted, weight @ given
        return {
            "micro_f1": float(_ratio(2 * hits.sum(keepdims=True), (support + claimed).sum(keepdims=True))[0]),
            "macro_f1": _mean(_ratio(2 * hits, support + claimed), support > 0),
            "samples_f1": _mean(of_row, weight),
            "subset_accuracy": _mean(wrong == 0, weight),
            "hamming_loss": _mean(wrong, weight),
        }

    return measure


def regression(values: Array, target: Array) -> Measure:
    """mae, rmse, mape (a fraction, not percent), r2 and spearman of predictions `values` [R] against `target` [R]."""
    assert values.shape == target.shape and values.ndim == 1, f"values {values.shape}, target {target.shape}"
    assert not (np.isnan(values).any() or np.isnan(target).any()), "values or target hold NaN"
    rank_of_value, rank_of_target = _ranks(values), _ranks(target)

    def measure(weight: Array) -> dict[str, float]:
        used = weight > 0
        kept, wanted = weight[used], target[used]
        wrong = values[used] - wanted
        squared = _mean(wrong**2, kept)
        return {
            "mae": _mean(np.abs(wrong), kept),
            "rmse": float(np.sqrt(squared)),
            "mape": _mean(np.abs(wrong / wanted), kept) if wanted.all() else np.nan,
            "r2": 1 - squared / _mean((wanted - _mean(wanted, kept)) ** 2, kept) if _varies(wanted) else np.nan,
            "spearman": _correlation(rank_of_value(weight)[used], rank_of_target(weight)[used], kept),
        }

    return measure


def bootstrap(
    measure: Measure,
    rows: int,
    rng: np.random.Generator,
    groups: Array | None = None,
    resamples: int = 1000,
    weight: Array | None = None,
) -> dict[str, Estimate]:
    """Every metric of `measure` with its percentile interval (Efron & Tibshirani 1993, ch. 13).

    Draws `rows` rows with replacement, or as many of the `groups` [R] as there are, all rows of a group together
    (Davison & Hinkley 1997, section 3.8). How often a row was drawn multiplies its `weight` [R] (1 if None). Resamples
    in which a metric is nan are left out; low and high are nan if the value is, if no resample is left, or if there is
    only one row or group to draw from. `Estimate.n` counts the rows of positive weight.

    Repeated rows make ece larger, and pr_auc too where a class has few rows: there the value may lie below its interval.
    """
    assert rows > 0, "there is no row to score"
    weight = np.ones(rows) if weight is None else weight
    unit = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    assert weight.shape == unit.shape == (rows,), f"weight {weight.shape}, groups {unit.shape}, {rows} rows"
    units = int(unit.max()) + 1
    drawn = []
    for _ in range(resamples if units > 1 else 0):
        counts = np.bincount(rng.integers(units, size=units), minlength=units)
        drawn.append(measure(weight * counts[unit]))
    n = int(np.count_nonzero(weight))
    return {
        name: Estimate(value, *_interval(value, np.array([metrics[name] for metrics in drawn])), n)
        for name, value in measure(weight).items()
    }


def paired_difference(
    measure: Measure,
    baseline: Measure,
    rows: int,
    rng: np.random.Generator,
    groups: Array | None = None,
    resamples: int = 1000,
    weight: Array | None = None,
) -> dict[str, Estimate]:
    """`measure` minus `baseline`, both on the same resamples, for every metric of `measure`; else as `bootstrap`."""

    def difference(weight: Array) -> dict[str, float]:
        other = baseline(weight)
        return {name: value - other[name] for name, value in measure(weight).items()}

    return bootstrap(difference, rows, rng, groups, resamples, weight)


def _interval(value: float, drawn: Array) -> tuple[float, float]:
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(value) or not len(drawn):
        return np.nan, np.nan
    # A quantile that is one of the draws: between them, an infinite log loss would give inf - inf.
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf")
    return float(low), float(high)


def _decisions(labels: Array, predicted: Array, classes: int) -> Measure:
    right = labels == predicted

    def measure(weight: Array) -> dict[str, float]:
        support = np.bincount(labels, weight, classes)
        claimed = np.bincount(predicted, weight, classes)
        hits = np.bincount(labels, weight * right, classes)
        f1 = _ratio(2 * hits, support + claimed)
        return {
            "accuracy": _mean(right, weight),
            "balanced_accuracy": _mean(_ratio(hits, support), support > 0),
            "macro_f1": _mean(f1, support > 0),
            "f1": float(f1[1]) if classes == 2 else _mean(f1, support),
        }

    return measure


def _ranking(scores: Array, positive: Array) -> Measure:
    """roc_auc and pr_auc, averaged over the M lines of `scores` [M, R], where `positive` [M, R] says what should rank high.

    The area under the ROC curve is the chance that a positive row ranks above a negative one, a tie being half (Hanley &
    McNeil 1982); average precision is the mean, over the positive rows, of the precision down to the row and its ties.
    """
    order, begin, end = _ties(scores)
    ordered = np.take_along_axis(positive, order, axis=1)
    lines, rows = np.nonzero(positive)

    def measure(weight: Array) -> dict[str, float]:
        kept = weight[rows] > 0
        line, row = lines[kept], rows[kept]
        before, upto = (line, begin[line, row]), (line, end[line, row])
        every, hits = _running(weight[order]), _running(weight[order] * ordered)
        misses = (every[before] - hits[before] + every[upto] - hits[upto]) / 2
        of_class = hits[:, -1]
        against = every[:, -1] - of_class
        above = np.bincount(line, weight[row] * (against[line] - misses), len(scores))
        precise = np.bincount(line, weight[row] * hits[upto] / every[upto], len(scores))
        return {
            "roc_auc": _mean(_ratio(above, of_class * against), of_class * against > 0),
            "pr_auc": _mean(_ratio(precise, of_class), of_class > 0),
        }

    return measure


def _calibration(confidence: Array, right: Array) -> Measure:
    """Expected calibration error (Guo et al. 2017, eq. 3) over bins (0, 1/15], ... of the highest probability.

    `confidence` [R, M] of M answers a row, and whether each is `right`.
    """
    rows, answers = confidence.shape
    bins = (np.ceil(confidence * BINS) - 1).clip(0, BINS - 1).astype(int)
    places = bins + BINS * np.arange(rows)[:, None]
    gaps = np.bincount(places.ravel(), (right - confidence).ravel(), rows * BINS).reshape(rows, BINS)

    def measure(weight: Array) -> dict[str, float]:
        total = weight.sum() * answers
        return {"ece": float(np.abs(weight @ gaps).sum() / total) if total > 0 else np.nan}

    return measure


def _ranks(values: Array) -> Callable[[Array], Array]:
    """weight [R] -> average rank [R] of `values` [R], highest first, counted in weight: what repeated rows would have."""
    order, begin, end = (line[0] for line in _ties(values[None]))

    def ranks(weight: Array) -> Array:
        running = _running(weight[order][None])[0]
        return (running[begin] + running[end]) / 2

    return ranks


def _correlation(first: Array, second: Array, weight: Array) -> float:
    """Pearson's, weighted; nan if either is constant."""
    if not (_varies(first) and _varies(second)):
        return np.nan
    first, second = first - _mean(first, weight), second - _mean(second, weight)
    return _mean(first * second, weight) / float(np.sqrt(_mean(first**2, weight) * _mean(second**2, weight)))


def _varies(values: Array) -> bool:
    return len(values) > 0 and bool(values.min() < values.max())


def _ties(values: Array) -> tuple[Array, Array, Array]:
    """Sort each line of `values` [M, R], highest first: order [M, R], and per row where its tie begins and ends in it."""
    order = np.argsort(-values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    edge = np.ones((len(values), values.shape[1] + 1), bool)
    edge[:, 1:-1] = ordered[:, 1:] != ordered[:, :-1]
    place = np.arange(edge.shape[1])
    first = np.maximum.accumulate(np.where(edge, place, 0), axis=1)[:, :-1]
    last = np.minimum.accumulate(np.where(edge, place, place[-1])[:, ::-1], axis=1)[:, ::-1][:, 1:]
    begin, end = np.empty_like(order), np.empty_like(order)
    np.put_along_axis(begin, order, first, axis=1)
    np.put_along_axis(end, order, last, axis=1)
    return order, begin, end


def _running(weight: Array) -> Array:
    """Sums of the first 0, 1, ... R of each line. [M, R] -> [M, R + 1]."""
    out = np.zeros((len(weight), weight.shape[1] + 1))
    np.cumsum(weight, axis=1, out=out[:, 1:])
    return out


def _mean(values: Array, weight: Array) -> float:
    """Weighted mean over the rows of positive weight; nan if there is none."""
    used = weight > 0
    return float((values[used] * weight[used]).sum() / weight[used].sum()) if used.any() else np.nan


def _ratio(top: Array, bottom: Array) -> Array:
    """top / bottom; nan where bottom is 0."""
    return np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom > 0)
