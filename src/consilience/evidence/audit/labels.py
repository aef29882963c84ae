"""Targets that are probably wrong: what the other rows say is all but impossible.

Five folds, of whole groups where there are groups, of at most `ROWS` rows: a linear model of cheap features of each input
says of every row what the rows of the other folds make of it. Media come in by their descriptors where at most two inputs
are media, and then `ROWS_OF_MEDIA` rows are looked at; else they are left out.

*Classes.* Confident learning (Northcutt et al. 2021, arXiv 1911.00068) suspects a row whose probability of another class is
at least the mean that rows of that class get. Where classes merely overlap many such rows are right, so it is asked first
whether there are errors at all. Two signs of them:

- Nearly all rows are told right, and the others lie about as deep in another class as its own rows do (half as deep, as a
  median; measured: 0.05 to 0.3 where classes overlap, 0.35 to 1 with 3% and more of wrong labels).
- A model with errors, (1 - e) p + e / (C - 1) of the others, is far likelier than one without (`LIKELIER`), each at its best
  temperature: in overlap, the probability of the given class falls off as the model says, and e is 0. Suspects are the rows
  that it calls wrong with a probability of `SURE`.

In both the share of wrong labels is at most `MOST`: above that, noise is how this target is, and nobody can mend it row by
row. Classes of which the features know little (`OF_A_CLASS`) are not suspected.

*Numbers.* Residuals of more than `FAR` robust deviations, on the scale of the target or of its logarithm, whichever is the
more even, where they are more than the tail of the others explains, continued as a power of their size (Hill).

Labels of which a row may have several are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from consilience.evidence.audit import quick
from consilience.evidence.audit.alike import mixed
from consilience.evidence.audit.features import descriptors
from consilience.evidence.audit.finding import SHOWN, Check, Examined, Finding
from consilience.evidence.audit.quick import Seen
from consilience.tasks.base import label_key
from consilience.train.threads import one_thread

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

KINDS: Mapping[str, str] = {
    "label-errors": "rows whose class is one that the other rows say is all but impossible, more than chance explains",
    "target-outliers": "rows whose number is further from what the other rows say than any tail explains",
}

ROWS, ROWS_OF_MEDIA = 5000, 1000
ENOUGH = 200
FOLDS = 5
FEW = 5
"""Rows that a class must have to be looked at."""
SURE = 0.9
LIKELIER = 12.0
"""Twice the logarithm of how much likelier the labels are with errors than without: by chance as often as 1 in 1000."""
MOST = 0.08
DEEP = 0.5
"""How deep in another class a row must lie, where the median of that class's rows is 1."""
OF_A_CLASS = 0.3
"""A class of which more rows are suspected is one that the features do not tell."""
FEWEST = 4
"""Suspects below which nothing is said."""
FAR = 8.0
OUTLYING = 0.05
"""Where more rows than this are further, they are no exceptions."""
CHANCE = 0.005
"""So many residuals as far must be less likely than this by the tail of the others."""
SHARES = (0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.11, 0.13, 0.16, 0.2, 0.3)
"""The shares of wrong labels that are tried."""
STEPS = 50
PENALTIES = (100.0, 10.0, 1.0)
"""On the squared weights, beside the sum of the rows' losses."""
BUCKETS, WIDTH = 1 << 12, 64
"""Buckets that words are counted in, and the numbers that are made of them."""
MOST_NUMBERS = 160
"""Numbers that a row is described by."""
VALUES = 50
"""Different values that a category may have."""


def wrong_classes(examined: Examined) -> Iterator[Finding]:
    """Rows whose class is probably wrong."""
    task, target = examined.task, examined.view.schema.target
    if task is None or target is None or task.link != "softmax":
        return
    rows, features, said = _features(examined)
    classes = task.encode(quick.cells_of(examined, target, rows)).astype(np.int64)
    known = np.bincount(classes, minlength=task.outputs)[classes] >= FEW
    rows, features, classes = rows[known], [some[known] for some in features], classes[known]
    if len(rows) < ENOUGH or not features or len(np.unique(classes)) < 2:
        return
    with one_thread():
        scores = _classified(features, classes, _folds(examined, rows), task.outputs)
    wrong = suspects(scores, classes)
    if not len(wrong):
        return
    names = {int(code): label_key(cell) for code, cell in zip(classes, quick.cells_of(examined, target, rows), strict=True)}
    rival = scores.argmax(1)
    worst = [f"row {rows[place]} is {names[int(classes[place])]!r}, rather {names[int(rival[place])]!r}" for place in wrong[:3]]
    found = f"the targets of {len(wrong)} of {len(rows)} rows looked at are probably wrong: {'; '.join(worst)}{said}"
    shown = tuple(int(row) for row in rows[wrong[:SHOWN]])
    yield Finding("label-errors", (target,), len(wrong), shown, found, quick.accepting(examined.recipe, "label-errors"))


def wrong_numbers(examined: Examined) -> Iterator[Finding]:
    """Rows whose number is far from what the other rows say."""
    task, target = examined.task, examined.view.schema.target
    if task is None or target is None or task.link != "identity":
        return
    rows, features, said = _features(examined)
    if not features:
        return
    values = np.array([float(cell) for cell in quick.cells_of(examined, target, rows)])
    with one_thread():
        away = _residuals(features, values, _folds(examined, rows))
    far = outliers(away)
    if not len(far):
        return
    shown = tuple(int(row) for row in rows[far[:SHOWN]])
    found = (
        f"the targets of {len(far)} of {len(rows)} rows looked at are {abs(away[far[-1]]):.0f} robust deviations or more "
        f"from what the other rows say, that of row {shown[0]} ({values[far[0]]:g}) {abs(away[far[0]]):.0f}{said}"
    )
    yield Finding("target-outliers", (target,), len(far), shown, found, quick.accepting(examined.recipe, "target-outliers"))


def suspects(scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Places of rows whose class is probably wrong, the surest first. scores [R, C] are of models that did not see the row."""
    found = _as_deep(scores, classes)
    return found if len(found) else _too_improbable(scores, classes)


def _as_deep(scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Where nearly all rows are told right: the others, if they lie about as deep in another class as its own rows do."""
    place, said = np.arange(len(classes)), scores.argmax(1)
    others = scores.copy()
    others[place, classes] = -np.inf
    margin, wrong = scores[place, classes] - others.max(1), said != classes
    size = np.bincount(classes, minlength=scores.shape[1])
    if wrong.mean() > MOST or (np.bincount(classes[wrong], minlength=len(size)) > OF_A_CLASS * size).any():
        return place[:0]
    depth = np.abs(margin)
    for label in np.unique(said[wrong]):
        own = depth[(said == label) & ~wrong]
        depth[said == label] /= max(float(np.median(own)), 1e-300) if len(own) else np.inf
    found = np.flatnonzero(wrong & (depth >= DEEP))
    if len(found) < max(FEWEST, wrong.sum() / 2):
        return place[:0]
    return found[np.argsort(-depth[found], kind="stable")]


def _too_improbable(scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Where rows in doubt are many: those that a model with errors calls wrong, if it is far likelier than one without."""
    place, count = np.arange(len(classes)), scores.shape[1]
    size = np.bincount(classes, minlength=count)
    prior = np.log(np.maximum(size, 0.5) / len(classes))  # a temperature is for what the features say
    evidence = np.log(_softmax(scores) + 1e-300) - prior
    shares = np.array([0.0, *SHARES])[:, None]
    best, factors = np.full(len(shares), -np.inf), np.ones(len(shares))
    for factor in np.geomspace(0.25, 8, 41):
        right = _softmax(evidence * factor + prior)[place, classes]
        seen = (1 - shares) * right + shares * (1 - right) / (count - 1)
        likely = np.log(np.maximum(seen, 1e-300)).sum(1)
        factors = np.where(likely > best, factor, factors)
        best = np.maximum(best, likely)
    most = int(best[1:].argmax()) + 1
    share, chance = float(shares[most, 0]), _softmax(evidence * factors[most] + prior)
    if share > MOST or 2 * (best[most] - best[0]) < LIKELIER:
        return place[:0]
    right, rival = chance[place, classes], chance.argmax(1)
    wrong = share * (1 - right) / (count - 1)
    surely = wrong / np.maximum(wrong + (1 - share) * right, 1e-300)
    typical = np.where(size > 0, np.bincount(classes, right, minlength=count) / np.maximum(size, 1), 1.0)
    found = np.flatnonzero((surely >= SURE) & (rival != classes) & (chance[place, rival] >= typical[rival]))
    told = np.bincount(classes[found], minlength=count) <= OF_A_CLASS * size  # of the others the features know nothing
    found = found[told[classes[found]]]
    return found[np.argsort(right[found], kind="stable")] if len(found) >= FEWEST else place[:0]


def outliers(away: np.ndarray) -> np.ndarray:
    """Places of residuals, in robust deviations, that are too far for the tail of the others; the furthest first."""
    from scipy.special import pdtrc

    size = np.abs(away)
    found = np.flatnonzero(size > FAR)
    if not len(found) or len(found) > OUTLYING * len(size):
        return found[:0]
    found = found[np.argsort(-size[found], kind="stable")]
    near, edge = np.quantile(size[size <= FAR], [0.9, 0.98])
    power = np.log(0.1 / 0.02) / max(float(np.log(edge / near)), 1e-9)
    expected = 3 * 0.1 * len(size) * (size[found] / near) ** -power  # so many are as far by chance, three times over
    chance = pdtrc(np.arange(len(found)), expected)  # that there are more than so many
    return found[: int(np.flatnonzero(chance < CHANCE)[-1]) + 1] if (chance < CHANCE).any() else found[:0]


def _features(examined: Examined) -> tuple[np.ndarray, list[np.ndarray], str]:
    """The rows looked at; numbers about them, [R, F], without what texts and media say and with it, where both are something;
    and what there is to say of what was not looked at."""
    seen = quick.inputs(examined)
    media = [item for item in seen if item.media]
    used = media if len(media) <= 2 else []
    rows = quick.sampled(examined, quick.labelled(examined), ROWS_OF_MEDIA // len(used) if used else ROWS)
    if len(rows) < ENOUGH:
        return rows, [], ""
    blocks = [block for item in seen if not item.media for block in _blocks(examined, item, rows)]
    wide = [np.nan_to_num(descriptors(examined, item.input, rows)) for item in used]
    wide += [block for block in blocks if block.shape[1] == WIDTH]
    narrow = [block for block in blocks if block.shape[1] != WIDTH]
    found = [narrow, narrow + wide] if narrow and wide else [narrow or wide]
    left_out = [item.column for item in media if item not in used]
    said = f" ({', '.join(map(repr, left_out))} were not looked at)" if left_out else ""
    return rows, [_narrowed(np.concatenate(chosen, axis=1)) for chosen in found if chosen], said


def _narrowed(features: np.ndarray) -> np.ndarray:
    """[R, at most `MOST_NUMBERS`] the directions in which the rows differ most."""
    if features.shape[1] <= MOST_NUMBERS:
        return features
    features = features - features.mean(0)
    _, directions = np.linalg.eigh(features.T @ features)
    return features @ directions[:, -MOST_NUMBERS:]


def _blocks(examined: Examined, item: Seen, rows: np.ndarray) -> list[np.ndarray]:
    """What a column says, each as [R, F]: a number and where it is missing, categories, or words."""
    cells = quick.cells_of(examined, item.column, rows)
    values = quick.numbers(cells)
    if values is None:
        values = quick.moments(cells)
    code = quick.codes(cells)
    if values is None and code.max() >= VALUES:
        return [_worded(quick.words(examined, item.column, rows))]
    blocks = []
    if values is not None:
        there = np.isfinite(values)
        rank = np.argsort(np.argsort(values[there], kind="stable"), kind="stable")
        spread = np.zeros((len(rows), 2))
        spread[there, 0] = values[there] - values[there].mean()
        spread[:, 0] = np.clip(spread[:, 0] / max(float(spread[there, 0].std()), 1e-300), -4, 4)
        spread[there, 1] = (rank + 0.5) / max(len(rank), 1) * 3.4 - 1.7
        blocks.append(spread)
        if not there.all():
            blocks.append(~there[:, None] * 1.0)
    if values is None or code.max() < 10:
        blocks.append(np.eye(code.max() + 1)[code])
    return blocks


def _worded(words: quick.Words) -> np.ndarray:
    """[R, WIDTH] the directions in which texts differ most in their words, which are counted in buckets."""
    from scipy.sparse import csr_matrix

    bucket = mixed(words.flat.astype(np.int64), 3) % np.uint64(BUCKETS)
    shape = (len(words.counts), BUCKETS)
    counts = csr_matrix((np.ones(len(bucket)), bucket.astype(np.int64), words.starts), shape=shape)
    counts.sum_duplicates()
    counts.data = np.log1p(counts.data)
    counts.data *= np.log(len(words.counts) / np.maximum(np.bincount(counts.indices, minlength=BUCKETS), 1))[counts.indices]
    length = np.sqrt(np.asarray(counts.power(2).sum(1))).reshape(-1)
    counts.data /= np.maximum(np.repeat(length, np.diff(counts.indptr)), 1e-12)
    found = _strongest(counts)
    return found * np.sqrt(WIDTH) / max(float(np.sqrt(np.square(found).sum(1).mean())), 1e-12)


def _strongest(counts: csr_matrix) -> np.ndarray:
    """[R, WIDTH] a sparse matrix in its strongest directions, which a few random ones find (Halko et al. 2011)."""
    random = np.random.default_rng(0).normal(size=(BUCKETS, WIDTH + 10))
    basis, _ = np.linalg.qr(counts @ (counts.T @ np.linalg.qr(counts @ random)[0]))
    within = counts.T @ basis
    strength, directions = np.linalg.eigh(within.T @ within)
    return basis @ directions[:, -WIDTH:] * np.sqrt(np.maximum(strength[-WIDTH:], 0.0))


def _folds(examined: Examined, rows: np.ndarray) -> np.ndarray:
    """[R] 0 to FOLDS - 1; rows of a group in one."""
    groups = examined.view.groups(rows)
    unit = np.arange(len(rows)) if groups is None else groups
    return np.random.default_rng([examined.recipe.seed, 5]).permutation(int(unit.max()) + 1)[unit] % FOLDS


def _classified(features: list[np.ndarray], classes: np.ndarray, fold: np.ndarray, count: int) -> np.ndarray:
    """[R, C] scores from logistic regression on the other folds, with the features and the penalty that suit the first."""
    wanted = np.eye(count, dtype=np.float32)[classes]
    scores = np.zeros((len(classes), count))
    tried = [(some.astype(np.float32), penalty) for some in features for penalty in PENALTIES]
    for held in np.unique(fold):
        taught, asked = fold != held, fold == held
        best, chosen = -np.inf, tried[0]
        for some, penalty in tried:
            weights = _logistic(some[taught], wanted[taught], penalty)
            found = some[asked] @ weights[:-1] + weights[-1]
            likely = float(np.log(_softmax(found)[np.arange(len(found)), classes[asked]] + 1e-12).mean())
            if likely > best:
                scores[asked], best, chosen = found, likely, (some, penalty)
        tried = [chosen]
    return scores


def _logistic(features: np.ndarray, wanted: np.ndarray, penalty: float) -> np.ndarray:
    """[F + 1, C] weights and, last, biases, after `STEPS` steps of L-BFGS: near enough to rank rows by, and much faster."""
    from scipy.optimize import minimize

    rows, shape = len(features), (features.shape[1] + 1, wanted.shape[1])
    penalty /= rows

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(shape).astype(np.float32)
        score = features @ weights[:-1] + weights[-1]
        score -= score.max(1, keepdims=True)
        chance = np.exp(score)
        total = chance.sum(1, keepdims=True)
        value = (np.log(total[:, 0]) - (score * wanted).sum(1)).mean(dtype=np.float64)
        away = (chance / total - wanted) / rows
        gradient = np.concatenate([features.T @ away + penalty * weights[:-1], away.sum(0)[None]])
        return float(value + 0.5 * penalty * np.square(weights[:-1]).sum(dtype=np.float64)), gradient.ravel().astype(np.float64)

    first = np.zeros(shape)
    first[-1] = np.log(np.maximum(wanted.mean(0), 1e-4))
    options = {"maxiter": STEPS, "ftol": 1e-5}
    return minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(shape)


def _residuals(features: list[np.ndarray], values: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """[R] what ridge regression on the other folds leaves of the target, in robust deviations.

    Of the features the best ones, and the scale, of the target or its logarithm, on which the greatest are least.
    """
    level = float(np.quantile(values, 0.05))  # without it, logarithms blow up what is next to nothing
    scales = [values, np.log(values + level)] if values.min() >= 0 and level > 0 else [values]
    best, uneven = np.zeros(len(values)), np.inf
    for scale in scales:
        tried = [_ridge(some, scale, fold) for some in features]
        away = min(tried, key=lambda found: float(np.median(np.abs(found))))
        away -= np.median(away)
        away /= max(1.4826 * float(np.median(np.abs(away))), 1e-300)
        tail = float(np.quantile(np.abs(away), 0.95))
        if tail < uneven:
            best, uneven = away, tail
    return best


def _ridge(features: np.ndarray, values: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Residuals; the target is clipped to where most of it is while a model learns, so that errors teach little."""
    low, high = np.quantile(values, [0.01, 0.99])
    away = np.zeros(len(values))
    for held in range(FOLDS):
        taught, asked = fold != held, fold == held
        wanted = np.clip(values[taught], low, high)
        centre, middle = features[taught].mean(0), wanted.mean()
        x = features[taught] - centre
        weight = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ (wanted - middle))
        away[asked] = values[asked] - middle - (features[asked] - centre) @ weight
    return away


def _softmax(scores: np.ndarray) -> np.ndarray:
    chance = np.exp(scores - scores.max(1, keepdims=True))
    return chance / chance.sum(1, keepdims=True)


CHECKS: tuple[Check, ...] = (wrong_classes, wrong_numbers)
