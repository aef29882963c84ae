"""Boosted trees as arrays: trained by scikit-learn, stored without pickle, replayed in numpy.

scikit-learn's HistGradientBoosting (Ke et al. 2017, LightGBM) can only be kept as a pickle, and opening a pickle runs
code. Here only the numbers of the trees are kept, and `raw` gives the very bits of scikit-learn's `_raw_predict`.

Decisions:
- A leaf has feature -1, a numeric split has bitset -1; the nodes of all trees stand in one row of arrays, and child
  indices count from its beginning.
- scikit-learn replaces a category by its place among the sorted categories of its column, and what it has not seen by
  NaN, and moves the categorical columns to the front. The categories are stored and the columns are renumbered, so that
  `raw` takes the table that the model was trained on. Place 255 is "missing or unknown": a column has at most 255
  categories, so bit 255 of the set that goes left is free to say where missing goes.
- All trees of a block walk at once on an index matrix [trees, rows]; a leaf is its own child. Leaves are then added tree
  by tree, in scikit-learn's order. Nothing is a matrix product, so a row's result never depends on other rows.
- Every child has a higher index than its parent and only one parent, and trees have a bounded depth, so that a file from
  a stranger can neither loop nor take time out of proportion to its size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from consilience.errors import Problem, raise_all

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

Array = np.ndarray[Any, np.dtype[Any]]

MISSING = 255
DEEPEST = 256
ROWS = 1024
CELLS = 16_384  # of the index matrix: at eight bytes each, what the walk touches stays in the processor's cache

LAYOUT: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "tree_start": ("int64", ("trees + 1",)),
    "tree_output": ("int32", ("trees",)),
    "feature": ("int32", ("nodes",)),
    "threshold": ("float64", ("nodes",)),
    "missing_left": ("bool", ("nodes",)),
    "left": ("int32", ("nodes",)),
    "right": ("int32", ("nodes",)),
    "value": ("float64", ("nodes",)),
    "bitset": ("int32", ("nodes",)),
    "left_bits": ("uint8", ("bitsets", "32")),
    "category_start": ("int64", ("features + 1",)),
    "category_value": ("float64", ("categories",)),
    "baseline": ("float64", ("outputs",)),
}
"""Name -> dtype and sizes of every stored array; a size that is a word is free, but the same wherever the word stands."""


@dataclass(frozen=True, eq=False)
class Boosted:
    """A sum of trees. `LAYOUT` gives the dtype and shape of each array.

    tree_start     where the nodes of each tree begin, and the end of the last
    tree_output    which output each tree adds to
    feature        column that a split looks at; -1 for a leaf
    threshold      a number goes left if it is at most this
    missing_left   whether NaN goes left at a numeric split
    left, right    children of a split, -1 for a leaf
    value          what a leaf adds
    bitset         row of `left_bits` for a split by category, else -1
    left_bits      the set of category places that go left, 256 bits, lowest first; bit 255 stands for missing and unknown
    category_start where the categories of each column begin; a numeric column has none
    category_value the categories of each column, ascending
    baseline       what every row begins with
    """

    tree_start: Array
    tree_output: Array
    feature: Array
    threshold: Array
    missing_left: Array
    left: Array
    right: Array
    value: Array
    bitset: Array
    left_bits: Array
    category_start: Array
    category_value: Array
    baseline: Array

    @staticmethod
    def from_sklearn(
        model: HistGradientBoostingClassifier | HistGradientBoostingRegressor, rounds: int | None = None
    ) -> Boosted:
        """Keep what `model`, fitted on a float64 matrix, needs to predict; of its first `rounds` only, where given.

        Raises ConsilienceError on a tree of more than 256 levels.
        """
        sk: Any = model  # the attributes read here are private, and so unknown to the type checker
        trees = [(output, tree) for step in sk._predictors[:rounds] for output, tree in enumerate(step)]
        return Boosted._assembled(sk, trees, sk._baseline_prediction)

    @staticmethod
    def from_several(models: Sequence[HistGradientBoostingClassifier | float], rounds: int) -> Boosted:
        """As many outputs as `models`, which were fitted on one matrix and have one output each; a number stands for itself.

        Raises ConsilienceError as `from_sklearn` does.
        """
        grown: dict[int, Any] = {output: model for output, model in enumerate(models) if not isinstance(model, float)}
        assert grown, "one model at least"
        trees = [(output, tree) for output, sk in grown.items() for (tree,) in sk._predictors[:rounds]]
        baseline = np.array([np.nan if output in grown else model for output, model in enumerate(models)], np.float64)
        baseline[list(grown)] = [sk._baseline_prediction.item() for sk in grown.values()]
        return Boosted._assembled(next(iter(grown.values())), trees, baseline)

    @staticmethod
    def _assembled(sk: Any, trees: list[tuple[int, Any]], baseline: Array) -> Boosted:
        """`trees` with the output that each adds to, over the columns of the model `sk`."""
        order, categories = _columns(sk)
        nodes = np.concatenate([tree.nodes for _, tree in trees])
        sizes = np.array([len(tree.nodes) for _, tree in trees])
        start = np.concatenate([[0], np.cumsum(sizes)])
        leaf = nodes["is_leaf"].astype(bool)
        shift = np.repeat(start[:-1], sizes)
        by_category = ~leaf & nodes["is_categorical"].astype(bool)
        arrays = {
            "tree_start": start.astype(np.int64),
            "tree_output": np.array([output for output, _ in trees], np.int32),
            "feature": np.where(leaf, -1, order[np.where(leaf, 0, nodes["feature_idx"])]).astype(np.int32),
            "threshold": nodes["num_threshold"].copy(),
            "missing_left": nodes["missing_go_to_left"].astype(bool),
            "left": np.where(leaf, -1, nodes["left"] + shift).astype(np.int32),
            "right": np.where(leaf, -1, nodes["right"] + shift).astype(np.int32),
            "value": nodes["value"].copy(),
            "bitset": np.where(by_category, np.cumsum(by_category) - 1, -1).astype(np.int32),
            "left_bits": _left_bits([tree for _, tree in trees]),
            "category_start": np.cumsum([0, *(len(values) for values in categories)], dtype=np.int64),
            "category_value": np.concatenate([np.empty(0), *categories]),
            "baseline": np.asarray(baseline, np.float64).ravel(),
        }
        return Boosted.from_arrays(arrays, features=len(order))

    @staticmethod
    def from_arrays(arrays: Mapping[str, Array], features: int) -> Boosted:
        """Check `arrays` (as of `arrays()`, from a file that anyone may have written) for a matrix of `features` columns.

        Raises ConsilienceError on a wrong name, dtype or size, on an index out of range, on nodes that do not form
        trees of at most 256 levels, and on values whose sum could be no finite number.
        """
        raise_all(_shape_problems(arrays, features))
        boosted = Boosted(**arrays)
        raise_all(_range_problems(boosted))
        raise_all(_tree_problems(boosted))
        return boosted

    def arrays(self) -> dict[str, Array]:
        """Everything, by name: what a run stores."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def raw(self, features: Array) -> Array:
        """Scores before the link function. [R, D] float64, NaN where missing -> [R, K] float64."""
        columns = len(self.category_start) - 1
        assert features.ndim == 2 and features.shape[1] == columns, f"features {features.shape} are not [R, {columns}]"
        assert features.dtype == np.float64, f"features are {features.dtype}, not float64"
        out = np.zeros((len(self.baseline), len(features)))
        out += self.baseline[:, None]
        for begin in range(0, len(features), ROWS):
            rows = slice(begin, begin + ROWS)
            values = self._values(features[rows])
            for tree, leaves in self._leaves(values):
                for offset, added in enumerate(self.value.take(leaves)):
                    out[self.tree_output[tree + offset], rows] += added
        return out.T

    def _values(self, features: Array) -> Array:
        """[R, D] -> [2 D, R]: the columns with categories as places, then again with -inf for NaN.

        A split that sends NaN left reads the second copy: -inf is at most any threshold, and NaN at most none.
        """
        columns = features.T.copy()
        for column in np.flatnonzero(np.diff(self.category_start)):
            known = self.category_value[self.category_start[column] : self.category_start[column + 1]]
            place = np.searchsorted(known, columns[column]).clip(max=len(known) - 1)
            columns[column] = np.where(known[place] == columns[column], place, MISSING)
        return np.concatenate([columns, np.where(np.isnan(columns), -np.inf, columns)])

    @cached_property
    def _walk(self) -> tuple[Array, Array, Array]:
        """Per node the row of `_values` that it reads and its children [right, left]; per bitset which places go left."""
        leaf = self.feature < 0
        column = np.where(leaf, 0, self.feature + (len(self.category_start) - 1) * self.missing_left)
        own = np.arange(len(leaf))
        children = np.where(leaf, own, [self.right, self.left]).T.ravel()
        return column, children, np.unpackbits(self.left_bits, axis=1, bitorder="little").astype(bool)

    def _leaves(self, values: Array) -> Iterator[tuple[int, Array]]:
        """Index of the first tree of each block of trees, and the leaf [trees, R] that each row ends in."""
        column, children, goes_left = self._walk
        rows = np.arange(values.shape[1])
        roots = self.tree_start[:-1]
        block = max(1, CELLS // len(rows))
        for first in range(0, len(roots), block):
            node = np.repeat(roots[first : first + block, None], len(rows), axis=1)
            while (self.feature.take(node) >= 0).any():
                value = values.ravel().take(column.take(node) * len(rows) + rows)
                left = value <= self.threshold.take(node)
                if len(goes_left):
                    bitset = self.bitset.take(node)
                    at = np.flatnonzero(bitset >= 0)
                    left.put(at, goes_left[bitset.take(at), value.take(at).astype(np.intp)])
                node = children.take(2 * node + left)
            yield first, node


def _columns(sk: Any) -> tuple[Array, list[Array]]:
    """The table column behind each column of the trees, and per table column the categories it may hold."""
    if sk.is_categorical_ is None:
        return np.arange(sk.n_features_in_), [np.empty(0)] * sk.n_features_in_
    categorical = np.flatnonzero(sk.is_categorical_)
    categories = [np.empty(0)] * sk.n_features_in_
    for column, values in zip(categorical, sk._preprocessor.named_transformers_["encoder"].categories_, strict=True):
        assert values.dtype == np.float64, f"column {column} held {values.dtype}: train on a float64 matrix"
        categories[column] = values[~np.isnan(values)]
    return np.concatenate([categorical, np.flatnonzero(~sk.is_categorical_)]), categories


def _left_bits(trees: list[Any]) -> Array:
    """One bitset [32] uint8 per split by category, in the order of the nodes."""
    found = [np.empty((0, 32), np.uint8)]
    for tree in trees:
        nodes = tree.nodes[(tree.nodes["is_leaf"] == 0) & (tree.nodes["is_categorical"] == 1)]
        bits = tree.raw_left_cat_bitsets[nodes["bitset_idx"]].astype("<u4").view(np.uint8).reshape(-1, 32)
        assert not (bits[:, -1] & 128).any(), "scikit-learn allows at most 255 categories"
        bits[:, -1] |= np.where(nodes["missing_go_to_left"], 128, 0).astype(np.uint8)
        found.append(bits)
    return np.concatenate(found)


def _shape_problems(arrays: Mapping[str, Array], features: int) -> Iterator[Problem]:
    if set(arrays) != set(LAYOUT):
        yield Problem(f"the trees hold the arrays {sorted(arrays)}", f"exactly {sorted(LAYOUT)}")
        return
    nodes = arrays["feature"].size
    sizes = {"32": 32, "features + 1": features + 1, "nodes": nodes, "trees + 1": arrays["tree_output"].size + 1}
    for name, (dtype, shape) in LAYOUT.items():
        array = arrays[name]
        expected = tuple(sizes.get(word, size) for word, size in zip(shape, array.shape, strict=False))
        if array.dtype != np.dtype(dtype) or array.ndim != len(shape) or array.shape != expected:
            words = ", ".join(f"{word} = {sizes[word]}" if word in sizes else word for word in shape)
            yield Problem(f"the array {name!r} of the trees is {array.dtype} {array.shape}", f"{dtype} of ({words})")


def _range_problems(boosted: Boosted) -> Iterator[Problem]:
    leaf = boosted.feature < 0
    columns, bitsets = len(boosted.category_start) - 1, len(boosted.left_bits)
    with np.errstate(over="ignore", invalid="ignore"):
        largest = np.abs(boosted.value).sum() + np.abs(boosted.baseline).sum()
    checks = {
        "tree_start": (_cuts(boosted.tree_start, len(leaf), range(1, len(leaf) + 1)), f"0 to {len(leaf)}, ascending"),
        "tree_output": ((boosted.tree_output >= 0) & (boosted.tree_output < len(boosted.baseline)), "an output"),
        "feature": ((boosted.feature >= -1) & (boosted.feature < columns), f"-1 to {columns - 1}"),
        "threshold": (~np.isnan(boosted.threshold), "numbers"),
        "value": (np.isfinite(largest), "numbers whose sum with the baseline is finite, whatever their signs"),
        "bitset": (np.where(leaf, boosted.bitset == -1, (boosted.bitset >= -1) & (boosted.bitset < bitsets)), "a bitset or -1"),
        "category_start": (
            _cuts(boosted.category_start, len(boosted.category_value), range(MISSING + 1)),
            f"0 to {len(boosted.category_value)}, at most {MISSING} categories a column",
        ),
        "category_value": (np.isfinite(boosted.category_value), "finite numbers"),
    }
    problems = [
        Problem(f"{name!r} of the trees is out of range", want) for name, (ok, want) in checks.items() if not np.all(ok)
    ]
    yield from problems
    if problems:
        return
    categories = np.diff(boosted.category_start)
    if not categories[boosted.feature[boosted.bitset >= 0]].all():
        yield Problem("the trees split a numeric column by category", "bitset -1 wherever the column has no categories")
    column = np.repeat(np.arange(columns), categories)
    if not ((np.diff(column) > 0) | (np.diff(boosted.category_value) > 0)).all():
        yield Problem("'category_value' of the trees is not sorted", "ascending categories in each column")


def _cuts(start: Array, end: int, sizes: range) -> bool:
    """Whether `start` cuts `end` things, from the first to the last, into pieces whose sizes lie in `sizes`."""
    steps = np.diff(start)
    return bool(start[0] == 0 and start[-1] == end and (steps >= sizes.start).all() and (steps < sizes.stop).all())


def _tree_problems(boosted: Boosted) -> Iterator[Problem]:
    split = boosted.feature >= 0
    children = np.stack([boosted.left, boosted.right])
    if (children[:, ~split] != -1).any():
        yield Problem("a leaf of the trees has children", "-1 in 'left' and 'right' wherever 'feature' is -1")
    end = np.repeat(boosted.tree_start[1:], np.diff(boosted.tree_start))[split]
    below = children[:, split]
    if not ((below > np.flatnonzero(split)) & (below < end)).all():
        yield Problem("a child in the trees is not after its parent, inside the same tree", "parent < child < end of the tree")
        return
    parents = np.bincount(below.ravel(), minlength=len(split))
    parents[boosted.tree_start[:-1]] += 1
    if (parents != 1).any():
        yield Problem("a node of the trees has no parent or two", "each node but the first of a tree once in 'left' or 'right'")
        return
    level = boosted.tree_start[:-1]
    for _ in range(DEEPEST):
        level = children[:, level[split[level]]].ravel()
    if len(level):
        yield Problem(f"the trees have more than {DEEPEST} levels", "shallower trees", "train with a `max_depth`")
