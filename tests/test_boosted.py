"""Boosted trees as arrays: the very bits of scikit-learn, and nothing worse than an error from a damaged file."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from consilience import boosted
from consilience.boosted import LAYOUT, Boosted
from consilience.errors import ConsilienceError

COLUMNS = 6
CATEGORICAL = [1, 4]


def table(rows: int, seed: int, unseen: bool = False) -> np.ndarray:
    """Six columns with NaN. Column 1 holds codes 0..11, column 4 the categories -2.5, 0, 2.5, ...; unseen: others, too."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, COLUMNS)) * (3 if unseen else 1)
    features[:, 1] = rng.integers(-4, 300, rows) if unseen else rng.integers(0, 12, rows)
    features[:, 4] = rng.integers(-3, 12, rows) if unseen else rng.integers(-1, 8, rows)
    features[:, 4] *= 1.25 if unseen else 2.5
    features[rng.random(features.shape) < 0.15] = np.nan
    if unseen:
        features[::7, 0], features[1::7, 0], features[2::7, 2] = np.inf, -np.inf, -0.0
    features.setflags(write=False)
    return features


def signal(features: np.ndarray) -> np.ndarray:
    filled = np.nan_to_num(features, nan=-0.7)
    return filled[:, 0] * filled[:, 2] + 2 * (filled[:, 1] % 3) + np.abs(filled[:, 4] - 5) + filled[:, 5]


def classes(features: np.ndarray, count: int) -> np.ndarray:
    return np.argsort(np.argsort(signal(features))) * count // len(features)


def assert_same_bits(model, features: np.ndarray) -> Boosted:
    made = Boosted.from_sklearn(model)
    expected, got = model._raw_predict(features), made.raw(features)
    assert got.shape == expected.shape and got.dtype == np.float64
    assert got.tobytes() == expected.tobytes()
    return made


TRAIN, TEST = table(500, seed=0), table(300, seed=1, unseen=True)


@pytest.mark.parametrize("categorical", [None, CATEGORICAL])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"loss": "absolute_error", "max_depth": 3},
        {"early_stopping": True, "n_iter_no_change": 2, "max_iter": 40},
        {"max_leaf_nodes": None, "min_samples_leaf": 1, "max_iter": 3},
    ],
)
def test_regression(options, categorical):
    model = HistGradientBoostingRegressor(categorical_features=categorical, random_state=0, **{"max_iter": 12} | options)
    model.fit(TRAIN, signal(TRAIN), sample_weight=np.random.default_rng(0).exponential(size=len(TRAIN)))
    made = assert_same_bits(model, TEST)
    assert (len(made.left_bits) > 0) == (categorical is not None)
    assert_same_bits(model, TRAIN)


@pytest.mark.parametrize("categorical", [None, CATEGORICAL])
@pytest.mark.parametrize("count", [2, 3, 12])
def test_classification(count, categorical):
    model = HistGradientBoostingClassifier(categorical_features=categorical, max_iter=8, early_stopping=count == 3)
    made = assert_same_bits(model.fit(TRAIN, classes(TRAIN, count)), TEST)
    assert len(made.baseline) == (1 if count == 2 else count)


@pytest.mark.parametrize("categorical", [None, CATEGORICAL])
def test_several_models_side_by_side(categorical):
    models: list[HistGradientBoostingClassifier | float] = [
        HistGradientBoostingClassifier(categorical_features=categorical, max_iter=9, random_state=seed, max_features=0.5)
        for seed in range(3)
    ]
    for seed, model in enumerate(models):
        model.fit(TRAIN, signal(TRAIN) > 2 + seed, sample_weight=np.random.default_rng(seed).exponential(size=len(TRAIN)))
    models.insert(1, -1.5)
    made, few = Boosted.from_several(models, 9), Boosted.from_several(models, 4)
    expected = [np.full(len(TEST), -1.5) if isinstance(model, float) else model._raw_predict(TEST)[:, 0] for model in models]
    assert made.raw(TEST).tobytes() == np.stack(expected, axis=1).tobytes()
    assert few.raw(TEST)[:, 3].tobytes() == Boosted.from_sklearn(models[3], 4).raw(TEST)[:, 0].tobytes()
    assert len(few.tree_output) == 12
    again = Boosted.from_arrays(made.arrays(), COLUMNS)
    assert again.raw(TRAIN).tobytes() == made.raw(TRAIN).tobytes()
    with pytest.raises(AssertionError, match="one model at least"):
        Boosted.from_several([0.5], 3)


def test_every_column_categorical_and_a_category_split_on_missing_alone():
    """A column with one category is split into missing and not: scikit-learn then leaves the bitset index at 0."""
    rng = np.random.default_rng(0)
    features = np.stack([np.where(rng.random(200) < 0.5, np.nan, 7.0), rng.integers(0, 3, 200).astype(float)], axis=1)
    target = np.isnan(features[:, 0]) * 3 + (features[:, 1] == 1)
    model = HistGradientBoostingRegressor(categorical_features=[0, 1], max_iter=5).fit(features, target)
    nodes = np.concatenate([tree.nodes for (tree,) in model._predictors])
    assert ((nodes["is_categorical"] == 1) & np.isinf(nodes["num_threshold"])).any()
    others = np.array([[7.0, 1.0], [np.nan, 1.0], [6.0, 1.0], [7.0, np.nan], [7.0, 9.0]])
    assert_same_bits(model, np.concatenate([features, others]))


def test_255_categories():
    features = np.arange(1020.0).reshape(-1, 1) % 255
    model = HistGradientBoostingRegressor(categorical_features=[0], max_iter=5, min_samples_leaf=1)
    model.fit(features, (features[:, 0] * 7 % 11))
    assert_same_bits(model, np.concatenate([features, [[255.0], [256.0], [-1.0], [0.5], [np.nan]]]))


def test_categories_must_have_been_numbers():
    features = np.array([["a", "b"] * 20], dtype=object).T
    model = HistGradientBoostingRegressor(categorical_features=[0], max_iter=1).fit(features, np.arange(40))
    with pytest.raises(AssertionError, match="float64"):
        Boosted.from_sklearn(model)


@pytest.fixture(scope="module")
def trained() -> Boosted:
    model = HistGradientBoostingClassifier(categorical_features=CATEGORICAL, max_iter=3, max_leaf_nodes=6)
    return Boosted.from_sklearn(model.fit(TRAIN, classes(TRAIN, 3)))


def test_blocks_change_no_bit(trained, monkeypatch):
    features = np.concatenate([TRAIN, TEST])
    expected = trained.raw(features).tobytes()
    for rows, cells in ((1, 1), (7, 1), (64, 200), (10_000, 10_000_000)):
        monkeypatch.setattr(boosted, "ROWS", rows)
        monkeypatch.setattr(boosted, "CELLS", cells)
        assert trained.raw(features).tobytes() == expected


def test_a_row_does_not_depend_on_the_others(trained):
    together = trained.raw(TEST)
    order = np.random.default_rng(0).permutation(len(TEST))
    assert (trained.raw(TEST[order]) == together[order]).all()
    assert (trained.raw(TEST[17:18]) == together[17]).all()
    assert trained.raw(TEST[:0]).shape == (0, 3)


def test_features_are_only_read_and_must_fit(trained):
    trained.raw(TEST)  # read-only
    for wrong in (TEST[:, :5], TEST[0], TEST.astype(np.float32)):
        with pytest.raises(AssertionError):
            trained.raw(wrong)


def test_arrays_there_and_back(trained):
    arrays = trained.arrays()
    assert arrays.keys() == LAYOUT.keys()
    again = Boosted.from_arrays(
        {name: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape) for name, a in arrays.items()}, COLUMNS
    )
    assert again.raw(TEST).tobytes() == trained.raw(TEST).tobytes()


def by_hand() -> dict[str, np.ndarray]:
    """Two trees for two outputs over two columns, the second with the categories 10 and 30.

    Tree 0 adds to output 0: column 0 <= 1.5 (NaN left) -> 1; else column 1 in {30, missing} -> 2, else 4.
    Tree 1 adds 8 to output 1.
    """
    bits = np.zeros((1, 256), bool)
    bits[0, [1, 255]] = True
    return {
        "tree_start": np.array([0, 5, 6]),
        "tree_output": np.array([0, 1], np.int32),
        "feature": np.array([0, -1, 1, -1, -1, -1], np.int32),
        "threshold": np.array([1.5, 0, 0, 0, 0, 0]),
        "missing_left": np.array([True, False, False, False, False, False]),
        "left": np.array([1, -1, 3, -1, -1, -1], np.int32),
        "right": np.array([2, -1, 4, -1, -1, -1], np.int32),
        "value": np.array([0, 1, 0, 2, 4, 8.0]),
        "bitset": np.array([-1, -1, 0, -1, -1, -1], np.int32),
        "left_bits": np.packbits(bits, axis=1, bitorder="little"),
        "category_start": np.array([0, 0, 2]),
        "category_value": np.array([10.0, 30.0]),
        "baseline": np.array([0.5, 0.25]),
    }


def test_prediction_by_hand():
    nan = np.nan
    features = np.array([[1.5, 10], [nan, 10], [2, 30], [2, nan], [2, 20], [2, 10], [2, -1], [np.inf, 10]])
    got = Boosted.from_arrays(by_hand(), 2).raw(features)
    assert got[:, 0].tolist() == [1.5, 1.5, 2.5, 2.5, 2.5, 4.5, 2.5, 4.5]
    assert (got[:, 1] == 8.25).all()


WRONG = [
    ("feature", 0, 2, "'feature'"),
    ("feature", 0, -2, "'feature' of the trees"),
    ("feature", 2, 0, "numeric column by category"),
    ("threshold", 0, np.nan, "'threshold'"),
    ("value", 1, np.inf, "'value'"),
    ("value", 1, np.nan, "'value'"),
    ("value", 1, np.array([0x7FF0000000000001]).view(np.float64)[0], "'value'"),  # a NaN that warns when it is added
    ("value", slice(None), 1e308, "'value'"),
    ("baseline", 0, -np.inf, "'value'"),
    ("bitset", 2, 1, "'bitset'"),
    ("bitset", 2, -2, "'bitset'"),
    ("bitset", 1, 0, "'bitset'"),
    ("left", 0, 0, "not after its parent"),
    ("left", 2, 0, "not after its parent"),
    ("right", 2, 5, "not after its parent"),
    ("right", 2, -1, "not after its parent"),
    ("right", 0, 1, "no parent or two"),
    ("left", 1, 2, "leaf of the trees has children"),
    ("tree_output", 1, 2, "'tree_output'"),
    ("tree_output", 1, -1, "'tree_output'"),
    ("tree_start", 0, 1, "'tree_start'"),
    ("tree_start", 1, 0, "'tree_start'"),
    ("tree_start", 1, 7, "'tree_start'"),
    ("tree_start", 2, 5, "'tree_start'"),
    ("tree_start", 1, np.iinfo(np.int64).min, "'tree_start'"),
    ("category_start", 1, 3, "'category_start'"),
    ("category_start", 2, 1, "'category_start'"),
    ("category_start", 0, -1, "'category_start'"),
    ("category_value", 0, 30, "not sorted"),
    ("category_value", 0, -np.inf, "'category_value'"),
]


@pytest.mark.parametrize(("name", "place", "value", "message"), WRONG)
def test_wrong_values(name, place, value, message):
    arrays = by_hand()
    arrays[name][place] = value
    with pytest.raises(ConsilienceError, match=message):
        Boosted.from_arrays(arrays, 2)


@pytest.mark.parametrize("name", LAYOUT)
def test_wrong_names_dtypes_and_sizes(name):
    good = by_hand()
    without = {other: array for other, array in good.items() if other != name}
    for arrays in (without, without | {"more": good[name], name: good[name]}):
        with pytest.raises(ConsilienceError, match="exactly"):
            Boosted.from_arrays(arrays, 2)
    for array in (good[name].astype(np.float16), good[name].astype(good[name].dtype.newbyteorder(">")), good[name][None]):
        if array.dtype != good[name].dtype or array.ndim != good[name].ndim:
            with pytest.raises(ConsilienceError, match=name):
                Boosted.from_arrays(good | {name: array}, 2)
    if name not in ("baseline", "left_bits"):
        with pytest.raises(ConsilienceError):
            Boosted.from_arrays(good | {name: good[name][:-1]}, 2)
    with pytest.raises(ConsilienceError, match="features \\+ 1 = 4"):
        Boosted.from_arrays(good, 3)


def test_no_more_categories_than_places():
    arrays = by_hand() | {"category_value": np.arange(255.0), "category_start": np.array([0, 0, 255])}
    Boosted.from_arrays(arrays, 2)
    arrays |= {"category_value": np.arange(256.0), "category_start": np.array([0, 0, 256])}
    with pytest.raises(ConsilienceError, match="at most 255 categories"):
        Boosted.from_arrays(arrays, 2)


def test_all_problems_at_once():
    arrays = by_hand()
    arrays["feature"][0], arrays["threshold"][0] = 9, np.nan
    with pytest.raises(ConsilienceError) as caught:
        Boosted.from_arrays(arrays, 2)
    assert len(caught.value.problems) == 2


def chain(levels: int) -> dict[str, np.ndarray]:
    """One tree in which every left child is a leaf: levels - 1 splits below one another, the last with two leaves."""
    nodes = 2 * levels - 1
    split = np.arange(nodes) % 2 == 0
    split[-1] = False
    index = np.arange(nodes, dtype=np.int32)
    return {
        "tree_start": np.array([0, nodes]),
        "tree_output": np.zeros(1, np.int32),
        "feature": np.where(split, 0, -1).astype(np.int32),
        "threshold": np.arange(nodes, dtype=float),
        "missing_left": np.zeros(nodes, bool),
        "left": np.where(split, index + 1, -1).astype(np.int32),
        "right": np.where(split, index + 2, -1).astype(np.int32),
        "value": np.arange(nodes, dtype=float),
        "bitset": np.full(nodes, -1, np.int32),
        "left_bits": np.zeros((0, 32), np.uint8),
        "category_start": np.array([0, 0]),
        "category_value": np.zeros(0),
        "baseline": np.zeros(1),
    }


def test_depth_is_bounded():
    deepest = Boosted.from_arrays(chain(boosted.DEEPEST), 1)
    assert deepest.raw(np.array([[1e9], [-1.0]])).ravel().tolist() == [2 * boosted.DEEPEST - 2, 1]
    with pytest.raises(ConsilienceError, match="more than 256 levels"):
        Boosted.from_arrays(chain(boosted.DEEPEST + 1), 1)
    with pytest.raises(ConsilienceError, match="more than 256 levels"):
        Boosted.from_arrays(chain(200_000), 1)


INTEGERS = st.one_of(st.integers(-3, 60), st.sampled_from([-(2**31), 2**31 - 1, 255, 256]))
FLOATS = st.one_of(st.floats(-1e3, 1e3), st.sampled_from([np.nan, np.inf, -np.inf, 1e308, -1e308, 5e-324]))
MUTATION = st.tuples(
    st.sampled_from(sorted(LAYOUT)), st.sampled_from(["set", "set", "set", "cut", "swap", "double"]), st.data()
)


def mutate(array: np.ndarray, how: str, data: st.DataObject) -> np.ndarray:
    array = array.copy()
    if how == "cut":
        return array[: data.draw(st.integers(0, len(array)))]
    if how == "double":
        return np.concatenate([array, array])
    places = st.integers(0, array.size - 1)
    if how == "swap":
        one, two = data.draw(places), data.draw(places)
        array.flat[[one, two]] = array.flat[[two, one]]
    elif array.dtype == np.float64:
        array.flat[data.draw(places)] = data.draw(FLOATS)
    elif array.dtype in (np.dtype(bool), np.dtype(np.uint8)):
        array.flat[data.draw(places)] = data.draw(st.integers(0, 1 if array.dtype == bool else 255))
    else:
        array.flat[data.draw(places)] = data.draw(INTEGERS)
    return array


@settings(max_examples=400, deadline=5000, derandomize=True, database=None)
@given(mutations=st.lists(MUTATION, min_size=1, max_size=4))
def test_damaged_arrays_give_an_error_or_finite_scores(trained, mutations):
    arrays = trained.arrays()
    for name, how, data in mutations:
        if arrays[name].size:
            arrays[name] = mutate(arrays[name], how, data)
    try:
        damaged = Boosted.from_arrays(arrays, COLUMNS)
    except ConsilienceError:
        return
    assert np.isfinite(damaged.raw(TEST[:50])).all()
