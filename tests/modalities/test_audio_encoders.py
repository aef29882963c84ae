"""Audio: what the descriptor and the scratch encoder make of recordings, by hand-made numbers where there are any."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import nn

from consilience.encoders.base import Encoder
from consilience.errors import ConsilienceError
from consilience.modalities.audio import Audio, Sound
from consilience.modalities.audio import descriptor as module
from consilience.modalities.audio.descriptor import Descriptor, features, stretches
from consilience.modalities.audio.scratch import Scratch, windows
from consilience.sound import decibels, filled_bands, frames_of, log_mel, mel_power
from consilience.types import Input, State

INPUT = Input("voice", "audio", ("voice",))
RATE = 4000
SHAPE = 8 * 32 + 2 * 32
PAIRS = 40 * 41 // 2


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def sound(seed: int, seconds: float = 0.5, rate: int = RATE) -> Sound:
    """One of four orders of four tones, and noise; the order is seed % 4."""
    draw = rng(seed)
    count = round(seconds * rate)
    order = [(300, 600, 900, 1500), (1500, 900, 600, 300), (600, 300, 1500, 900), (900, 1500, 300, 600)][seed % 4]
    hertz = np.repeat(np.array(order) * draw.uniform(0.95, 1.05), -(-count // 4))[:count]
    waves = 0.2 * np.sin(2 * np.pi * np.cumsum(hertz) / rate) + draw.normal(0, 0.05, count)
    return Sound(waves=waves.astype(np.float32), rate=rate)


def sounds(count: int, start: int = 0) -> list[Sound]:
    return [sound(seed, 0.3 + 0.1 * (seed % 3)) for seed in range(start, start + count)]


def descriptor() -> Descriptor:
    return Descriptor(config=Descriptor.Config(), input=INPUT)


def fitted(samples: Sequence[Sound], seed: int = 0) -> Descriptor:
    encoder = descriptor()
    encoder.fit(samples, rng(seed))
    return encoder


def scratch(**options: float) -> Scratch:
    torch.manual_seed(0)
    return Scratch(config=Scratch.Config(**options), input=INPUT)  # type: ignore[arg-type]


def tokens(encoder: Encoder, samples: Sequence[Sound], length: int | None = None) -> torch.Tensor:
    return encoder(encoder.collate([encoder.prepare(sample) for sample in samples], length)).values


# Descriptor


def test_features_by_their_groups() -> None:
    sample = sound(1)
    found = features(sample)
    power = mel_power(sample.waves, RATE, 32)
    assert (found.shape, found.dtype) == ((SHAPE + 2,), np.float32)
    # 51 frames: the first stretch is frames 0 to 5 and three eighths of frame 6
    first = (power[:6].sum(0) + 0.375 * power[6]) / 6.375
    cells = torch.cat([first[None], torch.from_numpy(stretches(power.numpy(), 8))[1:]])
    assert found[:256] == pytest.approx(decibels(cells, RATE).flatten().numpy(), abs=1e-3)
    frames = log_mel(sample.waves, RATE, 32).numpy()
    assert found[256:288] == pytest.approx(frames.std(0), abs=1e-4)
    assert found[288:320] == pytest.approx(np.append(np.diff(frames, axis=0), np.zeros((1, 32)), 0).std(0), abs=1e-4)
    assert found[320:] == pytest.approx([np.log(0.5), 10 * np.log10(np.square(sample.waves).mean())], abs=1e-4)


def test_stretches_by_hand() -> None:
    values = np.array([[0.0, 1], [3, 1], [6, 1]], np.float32)
    assert stretches(values, 1).tolist() == [[3, 1]]
    assert stretches(values, 2).tolist() == [[1, 1], [5, 1]]  # the middle row counts by half in each
    assert stretches(values, 6)[:, 0].tolist() == [0, 0, 3, 3, 6, 6]
    assert stretches(values[:1], 8).tolist() == [[0, 1]] * 8


def test_the_order_of_events_and_not_the_loudness_counts() -> None:
    one, turned = sound(0), Sound(waves=sound(0).waves[::-1].copy(), rate=RATE)
    softer = Sound(waves=one.waves / 4, rate=RATE)
    assert np.abs(features(one)[:256] - features(turned)[:256]).max() > 10
    assert features(softer)[:-1] == pytest.approx(features(one)[:-1], abs=0.02)
    assert features(softer)[-1] - features(one)[-1] == pytest.approx(-20 * np.log10(4), abs=1e-3)


@pytest.mark.parametrize("rate", [8000, 22_050, 48_000])
def test_the_rate_hardly_counts(rate: int) -> None:
    time = np.arange(rate) / rate
    chirp = Sound(waves=(0.3 * np.sin(2 * np.pi * (200 + 500 * time) * time)).astype(np.float32), rate=rate)
    usual = np.arange(16_000) / 16_000
    reference = Sound(waves=(0.3 * np.sin(2 * np.pi * (200 + 500 * usual) * usual)).astype(np.float32), rate=16_000)
    cells = [features(item)[:256].reshape(8, 32) for item in (chirp, reference)]
    assert (cells[0].argmax(1) == cells[1].argmax(1)).all()


def test_groups_have_one_mean_a_feature_and_one_scale() -> None:
    samples = sounds(40)
    encoder = fitted(samples)
    raw = np.stack([features(sample) for sample in samples]).astype(np.float64)
    raw -= raw.mean(0)
    found = tokens(encoder, samples)[:, 0].double().numpy()
    assert (encoder.width, encoder.length, encoder.frozen) == (SHAPE + PAIRS + 2, 1, True)
    for start, stop, at in ((0, 256, 0), (256, 320, 256), (320, 321, SHAPE + PAIRS), (321, 322, SHAPE + PAIRS + 1)):
        group = raw[:, start:stop]
        expected = group / np.sqrt(np.square(group).mean())
        assert found[:, at : at + stop - start] == pytest.approx(expected.clip(-10, 10), abs=1e-3)


def test_products_are_of_the_strongest_patterns() -> None:
    samples = sounds(60)
    encoder = fitted(samples)
    found = tokens(encoder, samples)[:, 0].double().numpy()
    shapes = found[:, :SHAPE]
    strengths, directions = np.linalg.eigh(shapes.T @ shapes / 60)
    strongest = shapes @ directions[:, -1] / strengths[-1] ** 0.25
    square = np.square(strongest) - np.square(strongest).mean()
    products = found[:, SHAPE : SHAPE + PAIRS]
    assert np.corrcoef(products[:, 0], square)[0, 1] == pytest.approx(1, abs=1e-3)
    assert np.square(products).mean() == pytest.approx(1, abs=0.02)
    assert np.abs(products[:, np.abs(products).max(0) < 10].mean(0)).max() < 1e-5  # the others are clipped


def test_few_alike_or_no_recordings_give_finite_numbers() -> None:
    for samples in ([], sounds(1), [sound(3)] * 5, sounds(7), [Sound(waves=np.zeros(9, np.float32), rate=RATE)] * 2):
        encoder = fitted(samples)
        for other in (sound(9), Sound(waves=np.zeros(1, np.float32), rate=RATE), sound(2, 3.0, 48_000)):
            values = tokens(encoder, [other])
            assert torch.isfinite(values).all()
            assert values.abs().max() <= 10
    assert not tokens(fitted([]), [sound(1)]).any()


def test_a_recording_has_the_same_descriptor_alone_and_in_a_batch() -> None:
    encoder, samples = fitted(sounds(20)), sounds(9, 30)
    assert torch.equal(tokens(encoder, samples), torch.cat([tokens(encoder, [sample]) for sample in samples]))


def test_fit_takes_a_draw_of_many_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FITTED_ON", 6)
    samples = sounds(20)
    chosen = [samples[index] for index in np.sort(rng(0).permutation(20)[:6])]
    assert fitted(samples).fingerprint() == fitted(chosen).fingerprint() != fitted(samples, seed=1).fingerprint()


def test_what_is_received_is_what_is_prepared() -> None:
    encoder = fitted(sounds(20))
    cells, texture, pairs, others = encoder.received(sound(1)).values()
    assert isinstance(cells, torch.Tensor)
    assert isinstance(texture, torch.Tensor)
    assert isinstance(pairs, torch.Tensor)
    assert [tuple(cells.shape), tuple(texture.shape), len(pairs)] == [(8, 32), (2, 32), PAIRS]
    assert [name for name, _ in others] == ["log of seconds", "level"]  # type: ignore[misc]
    values = encoder.prepare(sound(1))["values"]
    assert torch.equal(torch.cat([cells.flatten(), texture.flatten(), pairs, torch.tensor([x for _, x in others])]), values)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("mean", None, r"mean is nothing\n  expected: float32 \[322\]"),
        ("scale", np.zeros(5, np.float32), r"scale is float32 \[5\]"),
        ("patterns", np.zeros((320, 40)), r"patterns is float64 \[320, 40\]"),
        ("pairs_mean", np.full(820, np.nan, np.float32), "pairs_mean holds impossible values"),
        ("pairs_scale", np.zeros(2, np.float32), r"pairs_scale is float32 \[2\]"),
    ],
)
def test_a_state_that_is_not_valid_is_refused(name: str, array: np.ndarray | None, message: str) -> None:
    encoder = fitted(sounds(5))
    before = encoder.fingerprint()
    arrays = {**encoder.state().arrays, name: array}
    with pytest.raises(ConsilienceError, match=message):
        encoder.restore(State(arrays={key: value for key, value in arrays.items() if value is not None}))
    assert encoder.fingerprint() == before


# Scratch


def test_a_token_is_40_ms_seen_with_its_surroundings() -> None:
    sample = sound(1)  # 51 frames: 13 patches, the last of 3 frames
    encoder = scratch()
    item = encoder.prepare(sample)
    frames = log_mel(sample.waves, RATE, 40)
    frames = (frames / (frames[:, : filled_bands(RATE, 40)].abs().median() / 0.67)).clamp(-4, 4)
    assert tuple(item["patches"].shape) == (13, 2, 8, 40)  # as it is, and averaged over nine frames
    sharp = item["patches"][:, 0]
    assert torch.equal(sharp[3], frames[10:18])
    assert torch.equal(sharp[0], F.pad(frames[:6], (0, 0, 2, 0)))
    assert torch.equal(sharp[12], F.pad(frames[46:], (0, 0, 0, 3)))
    power = mel_power(sample.waves, RATE, 40)
    averaged = decibels(torch.stack([power[max(0, row - 4) : row + 5].mean(0) for row in range(len(power))]), RATE)
    averaged = (averaged / (averaged[:, : filled_bands(RATE, 40)].abs().median() / 0.67)).clamp(-4, 4)
    assert torch.allclose(item["patches"][3, 1], averaged[10:18], atol=1e-4)
    assert item["seconds"][:2].tolist() == pytest.approx([0.015, 0.055])
    result = encoder(encoder.collate([item, encoder.prepare(sound(2, 0.2))]))
    assert (tuple(result.values.shape), result.mask.sum(1).tolist()) == ((2, 13, 128), [13, 6])
    assert torch.equal(result.seconds[0], item["seconds"])  # type: ignore[index]


def test_loudness_does_not_count_and_silence_is_finite() -> None:
    encoder, one = scratch(width=32, depth=1).eval(), sound(1)
    softer = Sound(waves=one.waves / 8, rate=RATE)
    assert torch.allclose(tokens(encoder, [one]), tokens(encoder, [softer]), atol=1e-2)
    assert torch.isfinite(tokens(encoder, [Sound(waves=np.zeros(count, np.float32), rate=RATE) for count in (1, 900)])).all()


def test_windows_are_runs_spread_evenly() -> None:
    assert windows(5, 8).tolist() == [0, 1, 2, 3, 4]
    assert windows(17, 8).tolist() == list(range(8))
    assert windows(100, 24).tolist() == [*range(8), *range(46, 54), *range(92, 100)]
    assert len(windows(15_000, 259)) == 256


def test_a_long_recording_is_read_in_windows() -> None:
    encoder, sample = scratch(length=16), sound(1, 3.0)
    item, whole = encoder.prepare(sample), scratch(length=128).prepare(sample)
    chosen = [*range(8), *range(68, 76)]  # of 76 patches
    assert len(whole["patches"]) == 76
    assert torch.equal(item["patches"], whole["patches"][chosen])
    assert torch.equal(item["seconds"], whole["seconds"][chosen])


def test_the_length_is_learned_and_bounded() -> None:
    encoder = scratch()
    encoder.fit([sound(1, 0.3), sound(1, 1.0)], rng())  # 26 patches, and an eighth: 29.25, four runs
    assert (encoder.length, encoder.state().json) == (32, {"length": 32})
    assert len(encoder.body.positions) == 32  # type: ignore[arg-type]
    for samples, length in (([], 8), ([sound(1, 0.01)], 8), ([sound(1, 20.0)], 256)):
        encoder.fit(samples, rng())
        assert encoder.length == length
    slow = [Audio().augment(sound(1, 1.0), rng(seed)) for seed in range(30)]
    assert max(-(-frames_of(len(item.waves), item.rate) // 4) for item in slow) == 28
    for wrong in ({}, {"length": 0}, {"length": 257}, {"length": "9"}, {"length": 8.5}):
        with pytest.raises(ConsilienceError, match="audio scratch: length is"):
            encoder.restore(State(wrong))


def test_padding_and_other_rows_change_nothing() -> None:
    encoder, samples = scratch(width=32, depth=1, length=40).eval(), sounds(5)
    alone = [tokens(encoder, [sample]) for sample in samples]
    for length in (None, 20, 40):
        together = tokens(encoder, samples, length)
        for row, values in enumerate(alone):
            assert torch.allclose(together[row, : values.shape[1]], values[0], atol=1e-5)
    turned = tokens(encoder, samples[::-1], 40).flip(0)
    assert torch.allclose(tokens(encoder, samples, 40)[:, :8], turned[:, :8], atol=1e-5)


def test_options_are_bounded() -> None:
    for options in ({"width": 48}, {"depth": 0}, {"heads": 3}, {"dropout": 1.0}, {"length": 7}, {"rate": 1}):
        with pytest.raises(ValidationError):
            scratch(**options)
    with pytest.raises(ValidationError):
        Descriptor.Config(bands=3)  # type: ignore[call-arg]


def test_scratch_overfits_the_order_of_tones() -> None:
    samples = sounds(12)
    labels = torch.arange(12) % 4
    encoder = scratch(width=32, depth=1, dropout=0.0)
    head = nn.Linear(encoder.width, 4)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=5e-3)
    batch = encoder.collate([encoder.prepare(sample) for sample in samples])
    for _ in range(25):
        found = encoder(batch)
        pooled = (found.values * found.mask.unsqueeze(2)).sum(1) / found.mask.sum(1, keepdim=True)
        loss = F.cross_entropy(head(pooled), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in parameters)
    assert loss < 0.1
