"""Sound: recordings decoded under limits, mixed, repaired and cut; resampling; and the mel spectrogram."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import stft

from consilience.sound import (
    HIGHEST,
    decibels,
    decode_sound,
    filled_bands,
    frames_of,
    is_sound,
    log_mel,
    mel_bank,
    mel_power,
    resample,
    to_hertz,
    to_mel,
)
from consilience.types import Limits, Missing

LIMITS = Limits()
RATE = 8000


def tone(hertz: float = 440, seconds: float = 0.5, rate: int = RATE, height: float = 0.5) -> np.ndarray:
    return (height * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def file(waves: np.ndarray, kind: str = "WAV", rate: int = RATE, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, waves, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def container(kind: str, codec: str, waves: np.ndarray, rate: int) -> bytes:
    """What PyAV writes: m4a, webm, amr."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as opened:
        stream = opened.add_stream(codec, rate=rate)
        stream.layout = "mono"  # type: ignore[attr-defined]
        frame = av.AudioFrame.from_ndarray((waves * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):  # type: ignore[attr-defined]
            opened.mux(packet)
    return buffer.getvalue()


def decoded(data: bytes, **limits: Any) -> tuple[np.ndarray, int, tuple[str, ...]]:
    found = decode_sound(data, Limits(**limits))
    assert not isinstance(found, Missing), found.reason
    waves, rate, notes = found
    assert waves.dtype == np.float32
    assert waves.ndim == 1
    assert waves.flags.writeable
    return waves, rate, notes


def reason(data: bytes, **limits: Any) -> str:
    found = decode_sound(data, Limits(**limits))
    assert isinstance(found, Missing)
    return found.reason


def pitch(waves: np.ndarray, rate: int) -> float:
    return float(np.abs(np.fft.rfft(waves)).argmax() * rate / len(waves))


# Decoding


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_24"), ("AIFF", None)])
def test_lossless_files_come_back(kind: str, subtype: str | None) -> None:
    waves, rate, notes = decoded(file(tone(), kind, subtype=subtype))
    assert (rate, notes) == (RATE, ())
    assert waves == pytest.approx(tone(), abs=1 / 32768)


@pytest.mark.parametrize("kind", ["OGG", "MP3"])
def test_lossy_files_come_back_about(kind: str) -> None:
    waves, rate, notes = decoded(file(tone(), kind))
    assert (rate, notes) == (RATE, ())
    assert abs(len(waves) - 4000) < 1500
    assert pitch(waves, rate) == pytest.approx(440, abs=5)
    assert np.abs(waves).max() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("kind", "codec", "rate"),
    [("ipod", "aac", 16000), ("webm", "libopus", 48000), ("matroska", "pcm_s16le", 8000), ("adts", "aac", 16000)],
)
def test_containers_that_soundfile_does_not_know_are_read(kind: str, codec: str, rate: int) -> None:
    waves, found, notes = decoded(container(kind, codec, tone(rate=rate), rate))
    assert (found, notes) == (rate, ())
    assert abs(len(waves) / rate - 0.5) < 0.15
    assert pitch(waves, rate) == pytest.approx(440, abs=5)


def test_channels_are_mixed_to_their_mean() -> None:
    both = np.stack([tone(), np.zeros(4000, np.float32), tone()], 1)
    waves, _, notes = decoded(file(both, subtype="FLOAT"))
    assert waves == pytest.approx(2 / 3 * tone(), abs=1e-6)
    assert notes == ("3 channels mixed to one",)


def test_long_recordings_are_cut_while_they_are_decoded() -> None:
    for data in (file(tone(seconds=2)), container("ipod", "aac", tone(seconds=2), RATE), file(tone(seconds=2), "MP3")):
        waves, _, notes = decoded(data, seconds=0.25)
        assert len(waves) == 2000
        assert notes == ("cut at 0.25 seconds",)
    exact, _, notes = decoded(file(tone(seconds=2)), seconds=2)
    assert (len(exact), notes) == (16000, ())


def test_high_rates_are_reduced() -> None:
    waves, rate, notes = decoded(file(tone(rate=96_000), rate=96_000))
    assert (rate, len(waves), notes) == (HIGHEST, 24_000, ("rate reduced to 48000 Hz",))
    assert pitch(waves, rate) == pytest.approx(440, abs=5)
    assert decoded(file(tone(rate=48_000), rate=48_000))[1:] == (48_000, ())


def test_samples_that_are_not_finite_are_repaired() -> None:
    broken = tone()
    broken[[3, 5, 7]] = np.nan, np.inf, -np.inf
    waves, _, notes = decoded(file(broken, subtype="FLOAT"))
    assert waves[[3, 5, 7]].tolist() == [0, 1, -1]
    assert np.array_equal(waves[8:], tone()[8:])
    assert notes == ("samples that are not finite: NaN made zero, infinity full scale",)
    opposite = np.stack([broken, -broken], 1)  # the mean of infinities of either sign
    assert np.isfinite(decoded(file(opposite, subtype="FLOAT"))[0]).all()


def test_what_is_louder_than_full_scale_is_made_softer() -> None:
    waves, _, notes = decoded(file(8 * tone(), subtype="FLOAT"))
    assert waves == pytest.approx(tone() / np.abs(tone()).max(), abs=1e-6)
    assert notes == ("louder than full scale: made softer",)


def test_silence_is_a_recording() -> None:
    waves, _, notes = decoded(file(np.zeros(500)))
    assert (waves.tolist(), notes) == ([0] * 500, ("silent",))


def test_a_recording_that_breaks_off_is_kept_up_to_there() -> None:
    for subtype in ("PCM_16", "FLOAT"):
        whole = file(tone(), subtype=subtype)
        waves, _, notes = decoded(whole[: len(whole) // 2])
        assert 1900 < len(waves) < 2000
        assert waves == pytest.approx(tone()[: len(waves)], abs=1 / 32768)
        assert notes == ("truncated",)
    flac = file(tone(seconds=2), "FLAC")
    waves, _, notes = decoded(flac[: len(flac) // 2])
    assert 4000 < len(waves) < 12_000
    assert notes == ("damaged: read up to there",)
    streamed = bytearray(file(tone()))  # a program that wrote to a pipe knew no size
    streamed[4:8] = streamed[40:44] = b"\xff" * 4
    assert decoded(bytes(streamed))[2] == ()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"no sound at all" * 9, "not audio"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "not audio"),
        (b"#EXTM3U\nhttp://example.org/a.mp3\n", "not audio"),
        (b"ffconcat version 1.0\nfile a.wav\n", "not audio"),
        (file(np.zeros(0)), "no samples"),
        (file(tone(), "FLAC")[:60], "damaged"),
        (container("ipod", "aac", tone(), RATE)[:200], "damaged"),
        (b"\xff\xfb\x90\x00" + bytes(60), "damaged"),
        (b"RIFF" + bytes(40), "damaged"),
        (file(tone()[:50], rate=50), "impossible rate"),
    ],
)
def test_what_is_no_recording_is_missing(data: bytes, expected: str) -> None:
    assert reason(data) == expected
    assert not is_sound(data)


def test_a_video_without_sound_is_missing() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as opened:
        stream = opened.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 16  # type: ignore[attr-defined]
        stream.pix_fmt = "yuv420p"  # type: ignore[attr-defined]
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))
        for packet in (*stream.encode(frame), *stream.encode(None)):  # type: ignore[attr-defined]
            opened.mux(packet)
    assert reason(buffer.getvalue()) == "no audio in it"


def test_damaged_files_never_raise_and_never_print(capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    short = tone(seconds=0.1)
    wholes = [file(short, kind) for kind in ("WAV", "FLAC", "OGG", "MP3", "AIFF")]
    wholes += [file(np.stack([short] * 2, 1), subtype="FLOAT"), container("ipod", "aac", short, RATE)]
    wholes += [container("webm", "libopus", tone(seconds=0.1, rate=48_000), 48_000)]
    for whole in wholes:
        for _ in range(40):
            broken = bytearray(whole)
            reach = min(len(broken), int(rng.choice([60, 300, 10_000])))
            for place in rng.integers(0, reach, 6):
                broken[place] = rng.integers(256)
            found = decode_sound(bytes(broken[: int(rng.integers(1, 2 * len(broken)))]), LIMITS)
            if not isinstance(found, Missing):
                waves, rate, _ = found
                assert np.isfinite(waves).all()
                assert 0 < len(waves) <= LIMITS.seconds * rate
                assert np.abs(waves).max() <= 1
    assert capfd.readouterr() == ("", "")


def test_reading_loads_no_torch() -> None:
    code = "import sys; from consilience.modalities.audio import Audio; from consilience.types import Limits, Input\n"
    code += f"Audio().read(Input('a', 'audio', ('a',)), {{'a': {file(tone()[:50])!r}}}, Limits())\n"
    code += "assert 'torch' not in sys.modules and 'scipy' not in sys.modules and 'av' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# Resampling


@pytest.mark.parametrize(("before", "after"), [(48_000, 16_000), (8000, 16_000), (44_100, 48_000), (96_001, 48_000)])
def test_resampling_keeps_a_tone_and_takes_out_what_does_not_fit(before: int, after: int) -> None:
    waves = resample(tone(440, 1.0, before), before, after)
    assert waves.dtype == np.float32
    assert abs(len(waves) - after) <= 2
    inner = slice(after // 10, after * 9 // 10)
    assert waves[inner] == pytest.approx(tone(440, 1.0, after)[inner], abs=0.02)
    if after < before:
        assert np.abs(resample(tone(0.7 * after, 1.0, before), before, after)[inner]).max() < 0.01


# The spectrogram


def test_the_mel_scale_by_hand() -> None:
    assert to_mel(np.array([0.0, 700.0])) == pytest.approx([0, 2595 * np.log10(2)])
    assert float(to_mel(1000)) == pytest.approx(1000, abs=0.02)
    assert to_hertz(to_mel(np.array([40.0, 8000.0]))) == pytest.approx([40, 8000])


def test_a_band_is_a_triangle_that_sums_to_one() -> None:
    bank = mel_bank(16_000, 512, 3)
    edges = to_hertz(np.linspace(to_mel(40), to_mel(8000), 5))
    hertz = np.arange(257) * 31.25
    for band in range(3):
        low, middle, high = edges[band : band + 3]
        expected = np.interp(hertz, [low, middle, high], [0, 1, 0])
        assert bank[:, band] == pytest.approx(expected / expected.sum(), abs=1e-6)


@pytest.mark.parametrize("rate", [100, 1000, 8000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("bands", [1, 32, 64])
def test_every_band_below_half_the_rate_sums_to_one_and_the_others_to_zero(rate: int, bands: int) -> None:
    sums = mel_bank(rate, 1 << max(6, int(np.ceil(np.log2(rate / 40)))), bands).sum(0)
    middles = to_hertz(np.linspace(to_mel(40), to_mel(8000), bands + 2))[1:-1]
    assert sums[middles <= rate / 2] == pytest.approx(1, abs=1e-5)
    filled = filled_bands(rate, bands)
    assert filled == max(1, (middles <= rate / 2).sum())


def test_power_is_that_of_another_library() -> None:
    waves = np.random.default_rng(0).normal(0, 0.1, 3000).astype(np.float32)
    window = np.hanning(201)[:-1]
    _, _, spectrum = stft(np.pad(waves, (100, 100)), RATE, window, 200, 120, nfft=256, boundary=None, padded=False)
    power = np.square(np.abs(spectrum)) * np.square(window.sum()) / np.square(window).sum()
    found = mel_power(waves, RATE, 20).numpy()
    assert found == pytest.approx(power.T[: len(found)] @ mel_bank(RATE, 256, 20), rel=1e-3, abs=1e-7)


def test_frames_are_10_ms_apart_and_bands_stand_in_hertz() -> None:
    waves = np.zeros(RATE, np.float32)
    waves[4000:4010] = 0.5
    power = mel_power(waves, RATE, 40)
    assert tuple(power.shape) == (frames_of(RATE, RATE), 40) == (101, 40)
    assert power.sum(1).argmax() == 50
    middles = to_hertz(np.linspace(to_mel(40), to_mel(8000), 42))[1:-1]
    for rate in (8000, 16_000, 22_050, 48_000):
        loudest = middles[int(mel_power(tone(1500, rate=rate), rate, 40).sum(0).argmax())]
        assert loudest == pytest.approx(1500, abs=100)
        noise = np.random.default_rng(0).normal(0, 0.1, 2 * rate).astype(np.float32)
        assert mel_power(noise, rate, 8)[:, :5].mean() == pytest.approx(0.01, rel=0.1)  # the variance, at any rate


def test_long_recordings_are_transformed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    waves = np.random.default_rng(0).normal(0, 0.1, 5000).astype(np.float32)
    whole = mel_power(waves, RATE, 10)
    monkeypatch.setattr("consilience.sound._BLOCK", 256 * 7)
    assert torch.allclose(mel_power(waves, RATE, 10), whole, rtol=1e-5)


def test_decibels_are_about_their_median_and_floored() -> None:
    power = torch.tensor([[1.0, 1e-4], [1e-12, 1e-4]])
    # 0, -40, -120 raised to -80, -40: about their median of -40
    assert decibels(power, 48_000).flatten().tolist() == pytest.approx([40, 0, -40, 0])
    assert not decibels(torch.zeros(3, 2), 48_000).any()
    assert filled_bands(2000, 3) == 1  # the middles of three bands stand at about 600, 1700 and 3900 Hz
    assert decibels(torch.tensor([[1.0, 9.0, 9.0], [0.1, 9.0, 9.0]]), 2000).flatten().tolist() == pytest.approx(
        [10, 0, 0, 0, 0, 0]
    )


@pytest.mark.parametrize("count", [1, 2, 79, 80, 400, 4001])
def test_log_mel_does_not_hear_loudness_and_takes_any_length(count: int) -> None:
    waves = np.random.default_rng(count).normal(0, 0.1, count).astype(np.float32)
    values = log_mel(waves, RATE, 40)
    assert tuple(values.shape) == (1 + count // 80, 40)
    assert torch.isfinite(values).all()
    assert torch.allclose(log_mel(waves / 8, RATE, 40), values, atol=1e-2)
    filled = filled_bands(RATE, 40)
    assert values[:, :filled].median() == pytest.approx(0, abs=1e-4)
    assert filled == 30
    assert not values[:, filled:].any()
