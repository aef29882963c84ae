"""Audio: claims, reading, variation, damage, parts and drawing."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import PIL.Image
import pytest
import soundfile

from consilience import component
from consilience.modalities.audio import Audio, Sound
from consilience.modalities.audio.corruptions import level
from consilience.modalities.audio.descriptor import Descriptor
from consilience.modalities.audio.sample import regions
from consilience.modalities.audio.scratch import Scratch
from consilience.types import Claim, Column, Input, Limits, Missing

INPUT = Input("voice", "audio", ("voice",))
AUDIO = Audio()
KINDS = sorted(AUDIO.corruptions)
RATE = 8000


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def wave(seconds: float = 0.5, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Three tones that swell and fade, and a little noise."""
    time = np.arange(round(seconds * rate)) / rate
    tones = sum(np.sin(2 * np.pi * hertz * time) for hertz in (150, 900, 2500)) * np.hanning(len(time))
    return (0.1 * tones + rng(seed).normal(0, 0.01, len(time))).astype(np.float32)


def sound(seconds: float = 0.5, rate: int = RATE, **more: tuple[str, ...]) -> Sound:
    return Sound(waves=wave(seconds, rate), rate=rate, **more)


def wav(waves: np.ndarray, rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, waves, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def test_the_registry_finds_it() -> None:
    assert component.find("modalities", "audio") is Audio
    assert [component.load(AUDIO.encoders()[name]) for name in ("descriptor", "scratch")] == [Descriptor, Scratch]
    assert (AUDIO.name, AUDIO.media, AUDIO.grouped) == ("audio", True, False)
    assert KINDS == ["clipping", "coding", "dropouts", "low_pass", "noise"]


def claim(cells: Sequence[object], root: Path = Path()) -> Claim | None:
    return AUDIO.detect(Column("voice", cells, rows=len(cells), empty=0, distinct=len(set(cells)), root=root))


def test_columns_of_names_and_bytes_of_recordings_are_claimed(tmp_path: Path) -> None:
    for name in ("0.wav", "1.wav", "2.MP3", "my voice.m4a"):
        (tmp_path / name).touch()
    cells = ["0.wav", "1.wav", tmp_path / "2.MP3", "absent.wav", "notes.txt"]
    assert claim(cells, tmp_path) == Claim(0.95, "80% of 5 sampled cells end in .wav, .mp3 and 3 of 4 exist")
    assert claim([*cells, "more.txt"], tmp_path) is None
    assert claim(["my voice.m4a"], tmp_path) == Claim(0.95, "100% of 1 sampled cells end in .m4a and 1 of 1 exist")
    assert claim(["please hear my voice.m4a"], tmp_path) is None
    data = wav(wave())
    assert claim([data, data[:900]]) == Claim(0.95, "100% of 2 sampled cells are bytes that open as a recording")


@pytest.mark.parametrize(
    "cells",
    [
        [],
        ["a.wav is broken", "where is b.mp3?", "the .wav format"],
        ["a.png", "wav"],
        ["a.mp4", "b.webm", "c.mov", "d.avi", "e.mkv"],  # videos
        [1, 2.5, None],
        ["\0.wav " * 3, "n" * 300 + " .wav"],
        [wav(wave()), b"\x89PNG\r\n\x1a\n", b"text"],
    ],
)
def test_other_columns_are_not_claimed(cells: list[object]) -> None:
    assert claim(cells) is None


def read(cell: object, **limits: float) -> Sound | Missing:
    return AUDIO.read(INPUT, {"voice": cell, "other": b""}, Limits(**limits))  # type: ignore[arg-type]


def test_reading_files_and_bytes_with_notes_and_reasons(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(wave()))
    for cell in (tmp_path / "a.wav", wav(wave())):
        sample = read(cell)
        assert isinstance(sample, Sound)
        assert sample.waves == pytest.approx(wave(), abs=1 / 32768)
        assert (sample.rate, sample.notes, sample.nbytes) == (RATE, (), 256 + 4 * 4000)
    cut = read(wav(wave()), seconds=0.1)
    assert isinstance(cut, Sound)
    assert (len(cut.waves), cut.notes) == (800, ("cut at 0.1 seconds",))
    cells = (None, "", tmp_path / "absent.wav", tmp_path, b"text", wav(np.zeros(0)))
    reasons = ["empty", "empty", "file not found", "is a directory", "not audio", "no samples"]
    assert [read(cell) for cell in cells] == [Missing(reason) for reason in reasons]
    assert read(wav(wave()), bytes=100) == Missing("over the byte limit")


@pytest.mark.parametrize("count", [1, 2, 50, 4000, 4001])
def test_augmentation_varies_and_repeats(count: int) -> None:
    sample = Sound(waves=wave()[:count] if count <= 4000 else wave(0.6)[:count], rate=RATE, notes=("kept",))
    before = sample.waves.copy()
    varied = AUDIO.augment(sample, rng(1))
    assert (varied.waves.shape, varied.waves.dtype, varied.notes) == ((count,), np.float32, ("kept",))
    assert np.isfinite(varied.waves).all()
    assert np.abs(varied.waves).max() <= 1
    again = AUDIO.augment(sample, rng(1))
    assert np.array_equal(varied.waves, again.waves)
    assert varied.rate == again.rate
    assert not np.array_equal(varied.waves, AUDIO.augment(sample, rng(2)).waves)
    assert np.array_equal(sample.waves, before)


def test_augmentation_stays_within_what_it_says() -> None:
    time = np.arange(8000)
    sample = Sound(waves=(0.2 * np.sin(time * 2 * np.pi * 0.05) * (abs(time - 4000) < 50)).astype(np.float32), rate=RATE)
    rates, places, peaks, floors = set(), [], [], []
    for seed in range(300):
        varied = AUDIO.augment(sample, rng(seed))
        rates.add(varied.rate)
        peaks.append(np.abs(varied.waves).max())
        floors.append(np.sqrt(np.square(varied.waves[:2000]).mean()) / level(varied.waves))
        if peaks[-1] > 0.09:  # the burst was neither silent nor taken out
            places.append(np.abs(varied.waves).argmax())
    assert sorted(rates) == [7200, 7400, 7600, 7800, 8000, 8200, 8400, 8600, 8800]
    assert 3150 <= min(places) < 3400 < 4600 < max(places) <= 4850  # a tenth each way, and half of the burst
    assert 0.35 < max(peaks) <= 0.45  # twice as loud, and what a band taken out adds
    assert min(peaks) < 0.05
    assert 0.003 < np.median(floors) < 0.03  # 30 to 50 dB below


def test_augmentation_silences_a_stretch_and_a_band() -> None:
    noise = Sound(waves=rng(0).normal(0, 0.1, 8000).astype(np.float32), rate=RATE)
    silent, stopped = [], []
    for seed in range(100):
        waves = AUDIO.augment(noise, rng(seed)).waves
        pieces = np.square(waves[800:-800].reshape(-1, 20)).mean(1)  # what shifting leaves
        silent.append((pieces < 0.02 * np.median(pieces)).mean())
        power = np.square(np.abs(np.fft.rfft(waves))[:4000].reshape(-1, 20)).mean(1)
        stopped.append((power < 0.2 * np.median(power)).mean())
    for shares, most in ((silent, 0.07), (stopped, 0.15)):
        assert min(shares) < 0.02
        assert 0.04 < max(shares) <= most


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loudness", [1.0, 0.01])
def test_damage_grows_with_severity_and_scales_with_the_recording(kind: str, loudness: float) -> None:
    sample, damage = Sound(waves=wave() * np.float32(loudness), rate=RATE), AUDIO.corruptions[kind]
    assert damage(sample, 0.0, rng()) is sample
    results = [damage(sample, severity, rng(3)) for severity in (0.0, 0.25, 0.5, 0.75, 1.0)]
    losses = [float(np.square(result.waves - sample.waves).mean()) for result in results]
    assert losses == sorted(set(losses)), losses
    assert losses[-1] > 0.1 * level(sample.waves) ** 2
    assert {(result.waves.shape, result.waves.dtype, result.rate) for result in results} == {((4000,), np.dtype("f4"), RATE)}
    assert max(float(np.abs(result.waves).max()) for result in results) <= 1
    for waves in (np.zeros(1), np.ones(1), np.zeros(100)):
        tiny = damage(Sound(waves=waves.astype(np.float32), rate=RATE), 0.7, rng())
        assert tiny.waves.shape == waves.shape
        assert np.isfinite(tiny.waves).all()


def damaged(kind: str, severity: float, sample: Sound | None = None, seed: int = 3) -> np.ndarray:
    return AUDIO.corruptions[kind](sample or sound(), severity, rng(seed)).waves


def test_noise_is_the_same_and_louder() -> None:
    mild, severe = (damaged("noise", severity) - wave() for severity in (0.2, 0.4))
    assert level(mild) == pytest.approx(level(wave()) * 10 ** (-14 / 20), rel=0.1)  # 20 - 30 * 0.2 dB below
    assert severe == pytest.approx(mild * 10 ** (6 / 20), abs=1e-5)
    assert not np.array_equal(damaged("noise", 0.2), damaged("noise", 0.2, seed=4))
    loud = Sound(waves=wave() * 3, rate=RATE)
    assert np.abs(damaged("noise", 1.0, loud)).max() == pytest.approx(1)


def test_clipping_ends_at_a_tenth_of_the_level() -> None:
    heights = [float(np.abs(damaged("clipping", severity)).max()) for severity in (1e-9, 0.5, 1.0)]
    peak = float(np.abs(wave()).max())
    assert heights == pytest.approx([peak, np.sqrt(peak * 0.1 * level(wave())), 0.1 * level(wave())], rel=1e-4)


def test_dropouts_are_pieces_and_a_severer_one_contains_a_milder_one() -> None:
    gone = [damaged("dropouts", severity) == 0 for severity in (0.01, 0.25, 0.5, 1.0)]
    assert [int(mask.reshape(20, 200).all(1).sum()) for mask in gone] == [1, 4, 8, 16]
    for milder, severer in pairwise(gone):
        assert not (milder & ~severer).any()
    assert not np.array_equal(gone[1], damaged("dropouts", 0.25, seed=4) == 0)


def test_low_pass_softens_what_is_above() -> None:
    hertz = np.fft.rfftfreq(4000, 1 / RATE)
    for severity, limit in ((0.5, np.sqrt(4000 * 200)), (1.0, 200)):
        before, after = (np.fft.rfft(waves) for waves in (wave(), damaged("low_pass", severity)))
        loud = np.abs(before) > 1
        gain = np.abs(after[loud] / before[loud])
        assert gain == pytest.approx(1 / np.sqrt(1 + (hertz[loud] / limit) ** 4), abs=1e-3)  # 1 / sqrt(2) at the limit


def test_coding_has_ever_fewer_levels() -> None:
    assert [len(np.unique(np.abs(damaged("coding", severity)))) for severity in (2 / 5, 3 / 5, 1.0)] == [9, 5, 2]
    assert np.abs(damaged("coding", 0.001) - wave()).max() < 0.1 * np.abs(wave()).max()


def test_parts_are_spans_by_bands() -> None:
    parts = AUDIO.parts(sound())
    assert [part.index for part in parts] == list(range(16))
    assert parts[0].label == "0.00 to 0.12 s, 0 to 427 Hz"
    assert parts[15].label == "0.38 to 0.50 s, 2220 to 4000 Hz"
    assert (AUDIO.size(sound()), AUDIO.size(sound(4.0))) == (13, 101)
    assert [len(AUDIO.parts(Sound(waves=np.zeros(count, np.float32), rate=RATE))) for count in (1, 130, 256)] == [4, 8, 16]
    assert regions(sound(rate=48_000))[3].high == 24_000


def test_keep_silences_a_cell_of_time_and_frequency() -> None:
    sample = sound(notes=("kept",))
    everything = set(range(16))
    assert AUDIO.keep(sample, everything) is sample
    assert not AUDIO.keep(sample, ()).waves.round(6).any()
    kept = AUDIO.keep(sample, everything - {5})  # the second span, the second band: 427 to 1114 Hz
    assert kept.notes == ("kept",)
    assert np.array_equal(np.flatnonzero(kept.waves != sample.waves) // 1000, np.ones(1000))
    before, after = (np.abs(np.fft.rfft(item.waves[1000:2000])) for item in (sample, kept))
    hertz = np.fft.rfftfreq(1000, 1 / RATE)
    stopped = (hertz >= regions(sample)[5].low) & (hertz < regions(sample)[5].high)
    assert after[stopped].max() < 1e-3
    assert after[~stopped] == pytest.approx(before[~stopped], abs=1e-3)


@pytest.mark.parametrize("count", [1, 63, 200, 999, 4000])
def test_the_parts_add_up_to_the_recording(count: int) -> None:
    sample = Sound(waves=wave()[:count], rate=RATE)
    alone = [AUDIO.keep(sample, [part.index]).waves for part in AUDIO.parts(sample)]
    assert np.sum(alone, 0) == pytest.approx(sample.waves, abs=1e-5)


def test_drawing_is_one_figure_with_tints_words_and_sound() -> None:
    figure = ElementTree.fromstring(AUDIO.draw(sound(), {0: 0.5, 7: -1.0, 2: 7.0}))
    drawing, player = figure
    words = (
        "recording of 0.50 seconds at 8000 Hz; most for: 0.00 to 0.12 s, 1114 to 2220 Hz (+7.00); "
        "most against: 0.12 to 0.25 s, 2220 to 4000 Hz (-1.00)"
    )
    assert (figure.tag, drawing.get("role"), drawing.get("aria-label")) == ("figure", "img", words)
    outline, image, *tints = drawing
    assert str(outline.get("d")).count("M") == 320
    shown = PIL.Image.open(io.BytesIO(base64.b64decode(str(image.get("href")).removeprefix("data:image/png;base64,"))))
    assert shown.size == (51, 48)
    levels = np.asarray(shown).astype(float)
    assert levels.min() == 0
    assert levels[:, 25].mean() < levels[:, 0].mean()  # loud is dark
    assert [(tint.get("fill"), tint.get("fill-opacity")) for tint in tints[:3]] == [
        ("blue", "0.300"),
        ("blue", "0.000"),
        ("blue", "0.600"),
    ]
    assert tints[7].get("fill") == "red"
    assert [tints[5].get(name) for name in ("x", "y", "width", "height")] == ["80.0", "140.0", "80.0", "40.0"]
    assert tints[7][0].text == "0.12 to 0.25 s, 2220 to 4000 Hz: -1.00"
    data = base64.b64decode(str(player.get("src")).removeprefix("data:audio/wav;base64,"))
    assert soundfile.read(io.BytesIO(data), dtype="float32")[0] == pytest.approx(wave(), abs=1 / 32768)


def test_drawing_stays_small_and_takes_anything() -> None:
    long = ElementTree.fromstring(AUDIO.draw(sound(20.0), {}))
    assert [child.tag for child in long] == ["svg"]  # too long to be put in
    assert long[0].get("aria-label") == "recording of 20.00 seconds at 8000 Hz"
    for seconds in (0.001, 4.6, 20):
        assert len(AUDIO.draw(sound(seconds, 16_000), {0: 1.0})) < 320_000
    for waves in (np.zeros(1), np.zeros(900), np.ones(3)):
        drawn = AUDIO.draw(Sound(waves=waves.astype(np.float32), rate=RATE), {0: 1.0})
        assert "nan" not in drawn
        assert ElementTree.fromstring(drawn).tag == "figure"
