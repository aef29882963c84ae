"""Series: variation, damage, parts and drawing."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from consilience import component
from consilience.modalities.series import Sensors, Series

SENSORS = Sensors()
KINDS = sorted(SENSORS.corruptions)
NAN = float("nan")
SVG = "{http://www.w3.org/2000/svg}"


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def series(values: Any, rate: float = 1.0, channels: tuple[str, ...] = ()) -> Series:
    made = np.asarray(values, np.float32)
    return Series(values=made.reshape(len(made), -1), rate=rate, channels=channels)


def walk(steps: int = 200, channels: int = 3, seed: int = 0) -> Series:
    return series(rng(seed).standard_normal((steps, channels)).cumsum(0))


def same(one: np.ndarray, other: Any) -> bool:
    return np.array_equal(one, np.asarray(other, np.float32), equal_nan=True)


def test_the_registry_finds_it() -> None:
    assert component.find("modalities", "series") is Sensors
    assert (SENSORS.name, SENSORS.media, KINDS) == ("series", True, ["drift", "dropout", "lost_channel", "noise", "spikes"])


def test_augmentation_varies_little_and_repeats() -> None:
    sample = walk()
    varied = SENSORS.augment(sample, rng(1))
    assert (varied.values.shape, varied.values.dtype, varied.rate) == ((200, 3), np.float32, 1.0)
    assert same(varied.values, SENSORS.augment(sample, rng(1)).values)
    assert not same(varied.values, SENSORS.augment(sample, rng(2)).values)
    ramp = series(np.arange(1000))
    for seed in range(50):
        moved = SENSORS.augment(ramp, rng(seed)).values[100:900, 0]
        # 10% of scale, 5% of 1000 steps of shift and of stretch, and noise of 3% of 289.
        assert (np.abs(moved - np.arange(100, 900)) < 0.1 * np.arange(100, 900) + 1.1 * 75 + 5 * 8.7).all()


def test_augmentation_neither_spreads_nor_fills_gaps_much() -> None:
    values = np.ones((100, 2), np.float32)
    values[40:50, 0] = NAN
    for seed in range(20):
        gone = np.isnan(SENSORS.augment(series(values), rng(seed)).values)
        assert 8 <= gone[:, 0].sum() <= 12
        assert not gone[:, 1].any()
    values = np.ones((100, 1), np.float32)
    values[1:4] = NAN
    held = [SENSORS.augment(series(values), rng(seed)).values[:2, 0] for seed in range(40)]
    assert sum(bool(np.isfinite(start).all()) for start in held) >= 10  # where the first value is held, the gap beside is not
    for steps in (1, 2):
        assert np.isfinite(SENSORS.augment(series([3.0] * steps), rng()).values).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sample", [walk(), walk(400, 1), series([[5.0, 2.0]] * 40)], ids=["walk", "one channel", "flat"])
def test_damage_grows_with_severity(kind: str, sample: Series) -> None:
    damage = SENSORS.corruptions[kind]
    assert damage(sample, 0.0, rng()) is sample
    losses = []
    for severity in (0.1, 0.4, 0.7, 1.0):
        values = damage(sample, severity, rng(3)).values
        assert (values.shape, values.dtype) == (sample.values.shape, np.float32)
        assert not np.isnan(values).all()
        gone = np.isnan(values)
        losses.append(1000.0 * gone.sum() + np.abs(np.where(gone, sample.values, values) - sample.values).mean())
    assert losses == sorted(losses)
    assert len(set(losses)) == 4, losses


def test_each_damage_by_hand() -> None:
    steps = series(np.tile([1.0, 3.0], 80))  # mean 2, deviation 1
    drift = SENSORS.corruptions["drift"](steps, 0.5, rng()).values[:, 0] - steps.values[:, 0]
    assert np.abs(drift) == pytest.approx(np.linspace(1 / 160, 1, 160) * 2, abs=1e-5)
    noise = SENSORS.corruptions["noise"](steps, 1.0, rng()).values - steps.values
    assert noise.std() == pytest.approx(2, rel=0.2)
    spikes = SENSORS.corruptions["spikes"](steps, 1.0, rng()).values - steps.values
    assert set(np.abs(spikes).ravel().round(4).tolist()) == {0, 8}
    assert 4 <= np.count_nonzero(spikes) <= 30
    gone = np.isnan(SENSORS.corruptions["dropout"](walk(160, 2), 0.5, rng()).values)
    assert (gone[:, 0] == gone[:, 1]).all() and gone[:, 0].reshape(16, 10).all(1).sum() == gone[:, 0].sum() / 10 == 8
    lost = np.isnan(SENSORS.corruptions["lost_channel"](walk(100, 3), 0.3, rng()).values)
    assert sorted(lost.sum(0)) == [0, 0, 30] and lost[70:].sum() == 30
    flat = SENSORS.corruptions["lost_channel"](series(np.arange(10)), 0.5, rng()).values[:, 0]
    assert flat.tolist() == [0, 1, 2, 3, 4, 4.5, 4.5, 4.5, 4.5, 4.5]


# Parts


@pytest.mark.parametrize(
    ("steps", "channels", "count"), [(200, 1, 8), (200, 3, 24), (200, 6, 30), (200, 40, 80), (3, 2, 6), (1, 1, 1)]
)
def test_every_value_is_in_exactly_one_part(steps: int, channels: int, count: int) -> None:
    sample = walk(steps, channels)
    indices = [part.index for part in SENSORS.parts(sample)]
    assert len(indices) == len(set(indices)) == count
    assert same(SENSORS.keep(sample, indices).values, sample.values)
    gone = sum(np.isnan(SENSORS.keep(sample, set(indices) - {index}).values).astype(int) for index in indices)
    assert (gone == 1).all()
    assert np.isnan(SENSORS.keep(sample, []).values).all()


def test_labels_name_channel_and_seconds_and_empty_spans_are_no_parts() -> None:
    values = np.ones((16, 2))
    values[:4, 1] = NAN
    parts = SENSORS.parts(series(values, 4.0, ("x", "y")))
    assert [(part.index, part.label) for part in parts][7:9] == [(7, "x, 3.5-4 s"), (10, "y, 1-1.5 s")]
    assert SENSORS.parts(series(values))[0].label == "channel 1, 0-2 s"
    assert SENSORS.size(series(values)) == 16


def test_drawing_is_one_figure_with_tints_and_words() -> None:
    values = np.stack([np.arange(16.0), np.ones(16)], 1)
    values[6:8, 0] = NAN
    figure = ElementTree.fromstring(SENSORS.draw(series(values, 1.0, ("<x>", "y")), {0: 0.5, 1: -2.0}))
    (svg,) = figure
    assert (svg.get("role"), svg.get("viewBox")) == ("img", "0 0 480 124")
    words = "series of 16 steps and 2 channels; most for: <x>, 0-2 s (+0.50); most against: <x>, 2-4 s (-2.00)"
    assert svg.get("aria-label") == words
    tints = [(rect.get("fill"), rect.get("fill-opacity")) for rect in svg.iter(f"{SVG}rect")]
    assert (tints[:3], len(tints)) == ([("blue", "0.250"), ("red", "0.500"), ("blue", "0.000")], 16)
    assert next(svg.iter(f"{SVG}title")).text == "<x>, 0-2 s: +0.50"
    assert [text.text for text in svg.iter(f"{SVG}text")] == ["<x>: 0 to 15", "y: 1 to 1"]
    first, second = (str(path.get("d")) for path in svg.iter(f"{SVG}path"))
    assert (first.count("M"), first.count("L"), second.count("M"), second.count("L")) == (2, 12, 1, 15)


def test_long_series_are_drawn_short_with_their_extremes() -> None:
    values = np.zeros(100_000)
    values[54_321] = 9.0
    drawn = SENSORS.draw(series(values), {})
    assert len(drawn) < 20_000
    top = min(float(pair.split(" ")[1]) for pair in drawn.split('d="M')[1].split('"')[0].split("L"))
    assert top == 16.0  # the spike reaches the top of the field
    assert json.dumps(SENSORS.draw(series([[NAN, 1.0]]), {0: 1.0}))
