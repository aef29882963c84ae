"""Series: scales, features and MiniRocket by hand, and the two encoders made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from consilience import component
from consilience.component import Config
from consilience.errors import ConsilienceError
from consilience.modalities.series import Sensors, Series, features, rocket
from consilience.modalities.series.channels import scales_of
from consilience.modalities.series.descriptor import Descriptor
from consilience.modalities.series.scratch import Scratch
from consilience.types import Input, State, Tokens

NAN = float("nan")
INPUT = Input("pulse", "series", ("pulse",))
SENSORS = Sensors()


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def series(values: Any, rate: float = 1.0) -> Series:
    made = np.asarray(values, np.float32)
    return Series(values=made.reshape(len(made), -1), rate=rate)


def walks(count: int = 12, steps: int = 120, channels: int = 2) -> list[Series]:
    return [series(rng(seed).standard_normal((steps, channels)).cumsum(0)) for seed in range(count)]


def descriptor(samples: Sequence[Series]) -> Descriptor:
    encoder = Descriptor(config=Config(), input=INPUT)
    encoder.fit(samples, rng())
    return encoder


def scratch(samples: Sequence[Series], **options: Any) -> Scratch:
    torch.manual_seed(0)
    options = {"tokens": 6, "width": 32, "depth": 1, "heads": 2} | options
    encoder = Scratch(config=Scratch.Config(**options), input=INPUT)
    encoder.fit(samples, rng())
    return encoder.eval()


def encode(encoder: Descriptor | Scratch, samples: Sequence[Series], length: int | None = None) -> Tokens:
    with torch.no_grad():
        return encoder(encoder.collate([encoder.prepare(sample) for sample in samples], length))


def test_the_registry_finds_them() -> None:
    found = [component.load(SENSORS.encoders()[name]) for name in ("descriptor", "scratch")]
    assert found == [Descriptor, Scratch]
    assert [cls.modality for cls in (Descriptor, Scratch)] == ["series"] * 2  # type: ignore[attr-defined]


# Scales


def test_scales_are_medians_and_quartile_distances_of_the_channels_that_most_have() -> None:
    values = np.stack([np.arange(5.0), [0, 0, 0, 0, 10], [7] * 5, [NAN] * 5], axis=1)
    scales = scales_of([values, values, np.zeros((9, 2))], rng())
    assert scales.centre.tolist() == [2, 0, 7, 0]
    assert scales.spread.tolist() == pytest.approx([2 / 1.349, 4, 1, 1])  # quartiles 1 and 3; the deviation; none; nothing
    assert scales(np.array([[4.0, 4, 8, 1]]))[0].tolist() == pytest.approx([1.349, 1, 1, 1])
    assert np.array_equal(scales(np.array([[2.0]])), [[0, NAN, NAN, NAN]], equal_nan=True)
    assert scales(np.ones((1, 6))).shape == (1, 4)
    assert scales_of([], rng()).centre.tolist() == [0]


def test_one_loose_sensor_does_not_set_the_scale() -> None:
    samples = [item.values for item in walks(20)]
    wild = [*samples[:-1], samples[-1] * 1e6]
    assert scales_of(wild, rng()).spread == pytest.approx(scales_of(samples, rng()).spread, rel=0.2)


# Features


def test_features_of_a_channel_by_hand() -> None:
    found = features.of_channel(np.array([1.0, -1, 1, -1, 1, -1, 1, -1]))
    assert len(found) == features.CHANNEL
    assert found[:6] == pytest.approx(np.arcsinh([0, -1, -1, 1, 1, 1]))  # mean; places 0, 2, 4, 5, 7 of the sorted values
    time = np.linspace(-1, 1, 8)
    slope = (time @ np.array([1, -1] * 4)) / (time @ time)
    assert found[6:8] == pytest.approx([np.arcsinh(slope), slope])
    assert found[8:14] == pytest.approx(np.log(np.array([1, 2, 2, 2, np.std([2, -2] * 3 + [2]), 1]) + 1e-3))
    assert found[14:19] == pytest.approx([0, np.arcsinh(-2), 1, 1, 0])  # skewness, kurtosis, crossings, turns, rests
    assert found[19:26] == pytest.approx([-1, 1, 1, 0, 0, 0, 0])  # autocorrelation at 1, 2, 4; the rest is too far
    assert found[-1] == 0


def test_a_sine_is_found_where_it_is() -> None:
    steps = np.arange(1024)
    for cycles, octave in ((400, 0), (200, 1), (50, 3), (5, 6)):
        found = features.of_channel(np.sin(2 * np.pi * cycles * steps / 1024 + 0.3))
        bands, about = found[26:34], found[34:39]
        assert bands.argmax() == octave
        # The power of all octaves is the mean square, of which the rest has nothing.
        assert 2 * np.exp(bands).sum() == pytest.approx(0.5, rel=0.02)
        assert about[3] == pytest.approx(-np.log2(cycles / 512), abs=0.05)


def test_gaps_change_no_statistic_of_the_rest() -> None:
    values = rng().standard_normal(400)
    holed = np.concatenate([values[:200], np.full(100, NAN), values[200:]])
    whole, gap = features.of_channel(values), features.of_channel(holed)
    assert gap[:6] == pytest.approx(whole[:6])
    assert gap[[8, 9, 10, 13]] == pytest.approx(whole[[8, 9, 10, 13]])
    assert gap[14:16] == pytest.approx(whole[14:16])
    assert gap[26:31] == pytest.approx(whole[26:31], abs=0.5)  # power is not lost in a gap
    assert gap[-1] == pytest.approx(0.2)
    assert np.isfinite(gap).all()


@pytest.mark.parametrize("values", [[NAN] * 9, [1.0], [2.0] * 50, [1.0, NAN], [NAN, 1, NAN, 2], [1e38, -1e38] * 40, [3.0, 1.0]])
def test_features_are_finite_for_what_is_hardly_a_series(values: list[float]) -> None:
    made = np.array(values)
    assert np.isfinite(features.of_channel(made)).all()
    assert np.isfinite(features.together(np.stack([made, made], 1))).all()
    kernels = rocket.fit([made[:, None]], 1, rng())
    assert np.isfinite(rocket.transform(made[:, None], kernels)).all()


def test_correlations_of_channels_where_both_are_there() -> None:
    a = np.array([1.0, 2, 3, NAN, 5])
    values = np.stack([a, 2 * a, -a, [0, 0, 0, 9, 0], [NAN] * 5], axis=1)
    found = features.together(values)
    assert found == pytest.approx([1, -1, 0, 0, -1, 0, 0, 0, 0, 0])


# MiniRocket


def test_shares_of_a_kernel_by_hand() -> None:
    """By the definition: convolve with each kernel, count the steps above the bias."""
    values = rng().standard_normal((rocket.LENGTH, 2))
    kernels = rocket.fit([values], 2, rng(1))
    found = rocket.transform(values, kernels).reshape(rocket.SHAPE)
    normed = (values - values.mean(0)) / values.std(0)
    weights = [[2 if place in three else -1 for place in range(9)] for three in ((0, 1, 2), (0, 1, 3), (6, 7, 8))]
    for number, dilation in enumerate(rocket.DILATIONS):
        for kernel, weight in zip((0, 1, 83), weights, strict=True):
            mixed = normed @ kernels.mixes[number, kernel]
            wide = np.zeros(8 * dilation + 1)
            wide[::dilation] = weight
            padded = (number + kernel) % 2 == 0
            made = np.correlate(mixed, wide, "same" if padded else "valid")
            expected = [(made > bias).mean() for bias in kernels.biases[number, kernel]]
            assert found[number, kernel] == pytest.approx(expected, abs=2 / len(made)), (dilation, kernel)


def test_kernels_are_drawn_from_the_generator_and_every_one_sums_a_channel() -> None:
    samples = [item.values for item in walks(channels=12)]
    one, same, other = (rocket.fit(samples, 12, rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(one.mixes, same.mixes) and np.array_equal(one.biases, same.biases)
    assert not np.array_equal(one.biases, other.biases)
    counts = one.mixes.sum(2)
    assert (counts.min(), counts.max()) == (1, 9)
    assert rocket.DILATIONS.tolist()[0] == 1 and 8 * rocket.DILATIONS[-1] < rocket.LENGTH


def test_biases_are_quantiles_of_what_a_kernel_makes_of_the_training_series() -> None:
    values = rng().standard_normal((rocket.LENGTH, 1))
    found = rocket.transform(values, rocket.fit([values], 1, rng())).reshape(rocket.SHAPE)
    levels = (np.arange(1, found.size + 1) * (1 + 5**0.5) / 2 % 1).reshape(rocket.SHAPE)
    padded = (np.arange(rocket.SHAPE[0])[:, None] + np.arange(rocket.KERNELS)) % 2 == 0
    assert np.abs(found - (1 - levels))[padded].max() < 2 / rocket.LENGTH


def test_a_gap_does_not_count_and_does_not_poison() -> None:
    values = rng().standard_normal((2048, 1))
    holed = values.copy()
    holed[700:900] = NAN
    kernels = rocket.fit([values], 1, rng())
    whole, gap = rocket.transform(values, kernels), rocket.transform(holed, kernels)
    assert np.isfinite(gap).all()
    assert np.abs(gap - whole).mean() < 0.03
    assert not rocket.transform(np.full((50, 1), NAN), kernels).any()


# Descriptor


def test_features_are_standardised_and_blocks_are_equally_long() -> None:
    samples = walks(40)
    encoder = descriptor(samples)
    statistics = 2 * features.CHANNEL + 1
    assert (encoder.width, encoder.length) == (statistics + rocket.FEATURES, 1)
    tokens = encode(encoder, samples).values[:, 0].double()
    assert tokens.mean(0).abs().max() < 0.3  # cut at five deviations
    first, second = tokens[:, :statistics].square().sum(1).mean(), tokens[:, statistics:].square().sum(1).mean()
    assert 0.7 < first / second < 1.3
    raw = np.array([float(encoder.prepare(sample)["values"][0]) for sample in samples])
    expected = (raw - raw.mean()) / raw.std() * np.sqrt(encoder.width / 2 / statistics)
    assert tokens[:, 0].numpy() == pytest.approx(expected, abs=1e-4)


def test_what_is_received_is_what_is_prepared() -> None:
    for channels in (1, 3):
        samples = walks(4, channels=channels)
        encoder = descriptor(samples)
        groups = list(encoder.received(samples[0]).values())
        assert torch.equal(torch.cat([group.flatten() for group in groups]), encoder.prepare(samples[0])["values"])  # type: ignore[union-attr]


def test_any_series_has_finite_features() -> None:
    encoder = descriptor(walks())
    odd = [series(np.ones((1, 2))), series(np.full((9, 2), NAN)), series(np.full((5000, 2), 1e38)), series([[1.0], [2.0]])]
    for sample in [*odd, series(np.arange(30).reshape(10, 3))]:
        assert torch.isfinite(encode(encoder, [sample]).values).all()
    assert not encode(descriptor([]), walks(1, channels=1)).values.any()


def test_a_row_has_the_same_descriptor_alone_and_in_a_batch() -> None:
    samples = walks(7)
    encoder = descriptor(samples)
    alone = torch.cat([encode(encoder, [sample]).values for sample in samples])
    assert torch.equal(encode(encoder, samples).values, alone)


def test_every_part_that_is_removed_is_seen() -> None:
    for sample in (walks(1)[0], series(np.arange(64.0)), series(np.ones((40, 3)))):
        same_kind = [replace_seed(sample, seed) for seed in range(6)]
        for encoder in (descriptor(same_kind), scratch(same_kind)):
            whole = encoder.prepare(sample)
            indices = {part.index for part in SENSORS.parts(sample)}
            assert len(indices) >= 8
            for index in indices:
                without = encoder.prepare(SENSORS.keep(sample, indices - {index}))
                assert any(not torch.equal(whole[key], without[key]) for key in whole)


def replace_seed(sample: Series, seed: int) -> Series:
    return series(sample.values + rng(seed).standard_normal(sample.values.shape))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("mean", None, "mean is nothing"),
        ("factor", np.full(1, 1, np.float32), r"factor is float32 \[1\]"),
        ("biases", np.full(rocket.SHAPE, np.nan, np.float32), "biases holds impossible values"),
        ("mixes", np.zeros(rocket.SHAPE), "mixes is float64"),
        ("spread", np.zeros(2), "scales of a series descriptor are damaged"),
        ("centre", np.zeros(3), "scales of a series descriptor are damaged"),
        ("centre", None, "scales of a series descriptor are damaged"),
    ],
)
def test_a_state_that_is_not_valid_is_refused(name: str, array: np.ndarray | None, message: str) -> None:
    encoder = descriptor(walks(3))
    before = encoder.fingerprint()
    arrays = {**encoder.state().arrays, name: array}
    with pytest.raises(ConsilienceError, match=message):
        encoder.restore(State(arrays={key: value for key, value in arrays.items() if value is not None}))
    assert encoder.fingerprint() == before


# Scratch


def test_patches_by_hand() -> None:
    encoder = scratch([series(np.arange(12.0))], tokens=6)  # patches of two steps
    assert (encoder.block, encoder.points, encoder.length) == (1, 2, 9)
    values = np.array([1.0, 3, 1, 3, NAN, NAN, NAN, 3, 1])
    item = encoder.prepare(series(values, 0.5))
    assert item["points"].flatten(1).tolist() == pytest.approx(np.array([[-1, 1], [-1, 1], [0, 0], [0, 1], [-1, 0]]))
    assert item["shares"].flatten().tolist() == [1, 1, 0, 0.5, 0.5]
    assert item["seconds"].tolist() == [9, 2, 6, 10, 14, 17]
    centre, spread = encoder.scales.centre[0], encoder.scales.spread[0]
    expected = [np.arcsinh((2 - centre) / spread), np.log(1 / spread + 1e-3), 1 / 3]
    assert item["statistics"].tolist() == pytest.approx(expected)
    tokens = encode(encoder, [series(values), series(np.arange(40.0))])
    assert tokens.mask.tolist() == [[True] * 3 + [False] + [True] * 2 + [False] * 3, [True] * 9]
    assert tokens.seconds is not None
    assert tokens.seconds[1].tolist() == [20, *(np.linspace(0, 38, 8).round() + 1)]  # patches lie evenly over a longer one


def test_long_patches_are_means() -> None:
    encoder = scratch([series(np.arange(1200.0))], tokens=6)  # 200 steps a patch, at most 64 points: four steps each
    assert (encoder.block, encoder.points) == (4, 50)
    values = np.tile([0.0, 4, 0, 4, 10, 14, 10, 14], 50)
    points = encoder.prepare(series(values))["points"]
    assert points[0, 0, :4].tolist() == pytest.approx((np.array([2, 12, 2, 12]) - 7) / values.std(), abs=1e-5)


def test_padding_changes_nothing_that_counts() -> None:
    samples = [*walks(3), walks(1, steps=30)[0], series(np.full((50, 2), NAN)), series(np.ones((1, 2)))]
    encoder = scratch(samples)
    short, full = encode(encoder, samples), encode(encoder, samples, encoder.length)
    assert full.values.shape == (6, encoder.length, 32)
    assert full.mask.any(1).all() and full.mask[4].sum() == 1
    count = short.mask.shape[1]
    assert torch.equal(short.mask, full.mask[:, :count]) and not full.mask[:, count:].any()
    difference = (short.values - full.values[:, :count])[short.mask].abs().max()
    assert difference < 1e-5 and torch.isfinite(short.values[short.mask]).all()


def test_a_state_of_scratch_is_checked() -> None:
    encoder = scratch(walks(3))
    state = encoder.state()
    for wrong in ({"block": 0}, {"points": 65}, {"points": "2"}, {"block": 10**9}):
        with pytest.raises(ConsilienceError, match="patches of"):
            encoder.restore(State({**state.json, **wrong}, state.arrays))
    with pytest.raises(ConsilienceError, match="the scales of a series scratch are damaged"):
        encoder.restore(State(state.json))


def test_scratch_learns_where_something_happens() -> None:
    samples, labels = [], []
    for seed in range(24):
        values = 0.3 * rng(seed).standard_normal(96)
        values[16 + 40 * (seed % 2) :][:12] += 2
        samples.append(series(values))
        labels.append(seed % 2)
    encoder = scratch(samples, tokens=8, dropout=0.0).train()
    head = nn.Linear(encoder.width, 2)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=3e-3)
    batch = encoder.collate([encoder.prepare(sample) for sample in samples])
    for _ in range(40):
        loss = F.cross_entropy(head(encoder(batch).values.mean(1)), torch.tensor(labels))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in parameters)
    assert (head(encoder.eval()(batch).values.mean(1)).argmax(1) == torch.tensor(labels)).all()
