"""What modalities with sound share: recordings decoded under limits, resampled, and their mel spectrogram.

Decisions. A bad cell is `Missing` with a short countable reason, never an error. Sound is float32, one channel (the mean
of all), at most 48 kHz. soundfile decodes wav, flac, ogg, aiff and others. PyAV, that is FFmpeg, decodes what soundfile
does not, and mp3, because soundfile's mp3 library writes warnings to the terminal. It gets only the containers of
`_HEADS`, each with the name of its own demuxer: left to guess, FFmpeg would also take playlists, which name other files
and addresses. A recording longer than the limit is cut while it is decoded. One that breaks off, or breaks, is kept up to
there with a note, because the beginning of a sound is a sound, only shorter; a picture's missing half has no such reading.

The spectrogram is computed at the recording's own rate: its windows have 25 ms and its bands stand in hertz, so that
recordings of different rates are alike without being resampled, and bands above half the rate are empty. The mel scale is
mel = 2595 log10(1 + hertz / 700) (O'Shaughnessy 1987); triangles overlap by half and each sums to one, so that a band
holds the mean power in it, whatever the spacing of the Fourier bins.
"""

from __future__ import annotations

import io
import math
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from consilience.types import Limits, Missing

if TYPE_CHECKING:
    import av
    from torch import Tensor

HIGHEST = 48_000
"""The highest rate that a recording is kept at, in samples a second."""

HOP = 0.01
"""Seconds between the frames of a spectrogram."""

WINDOW = 0.025
"""Seconds that a frame looks at."""

TOP = 8000.0
"""The upper end of the highest band, in hertz."""

ENDINGS = frozenset(
    f".{name}"
    for name in (
        *("wav", "wave", "w64", "rf64", "flac", "ogg", "oga", "opus", "aif", "aiff", "aifc", "au", "snd", "caf"),  # soundfile
        *("mp3", "m4a", "m4b", "aac", "amr", "3ga", "wma", "mka", "weba"),  # PyAV
    )
)
"""The file name endings of recordings. Those of videos (.mp4, .webm) are not among them."""

_LOW = 40.0  # the lower end of the lowest band: below are hum and wind
_RANGE = 80.0  # decibels below a recording's loudest cell at which it counts as silent
_RATES = range(100, 384_001)  # what is outside is damage, or nothing that bands up to 8 kHz could show
_BLOCK = 1 << 22  # numbers that are decoded, or transformed, at a time
_STREAMED = 0x7FFF_0000  # sizes from here on are given by programs that wrote to a pipe and knew none
_SCALE = {"u1": 2.0**7, "i2": 2.0**15, "i4": 2.0**31, "i8": 2.0**63}  # full scale of whole numbers

# What PyAV raises for bad files besides its own errors.
_BROKEN = (OSError, ValueError, LookupError, ArithmeticError, RuntimeError, EOFError, MemoryError)

_HEADS = (
    (0, b"ID3", "mp3"),
    (4, b"ftyp", "mov"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (0, b"#!AMR", "amr"),
    (0, b"RIFF", "wav"),
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, b"FORM", "aiff"),
    (0, b"caff", "caf"),
)
"""Where a container says what it is, and FFmpeg's demuxer for it. Raw mp3 and aac start with a frame: see `_demuxer`."""

Decoded = tuple[np.ndarray, int, list[str]]
"""float32 [T], rate, notes."""


def is_sound(data: bytes) -> bool:
    """Do the bytes open as a recording?"""
    return not isinstance(decode_sound(data, Limits(seconds=0.01)), Missing)


def decode_sound(data: bytes, limits: Limits) -> tuple[np.ndarray, int, tuple[str, ...]] | Missing:
    """Bytes -> float32 [T] in -1..1 with T > 0, its rate in samples a second, and notes on what was cut or repaired."""
    demuxer = _demuxer(data)
    found = None if demuxer in ("mp3", "aac") else _by_soundfile(data, limits)
    if found is None:
        found = _by_av(data, demuxer, limits) if demuxer else Missing("not audio")
    if isinstance(found, Missing):
        return found
    waves, rate, notes = found
    if not len(waves):
        return Missing("no samples")
    peak = float(np.abs(waves).max())
    if not math.isfinite(peak):
        waves = np.nan_to_num(waves, nan=0.0, posinf=1.0, neginf=-1.0)
        notes.append("samples that are not finite: NaN made zero, infinity full scale")
        peak = float(np.abs(waves).max())
    if peak > 1:
        waves = waves / np.float32(peak)
        notes.append("louder than full scale: made softer")
    if rate > HIGHEST:
        waves, rate = resample(waves, rate, HIGHEST).clip(-1, 1), HIGHEST
        notes.append(f"rate reduced to {HIGHEST} Hz")
    if not peak:
        notes.append("silent")
    return waves, rate, tuple(notes)


def _demuxer(data: bytes) -> str | None:
    """The name of FFmpeg's demuxer for the bytes; None where they look like nothing that it is trusted with."""
    for place, head, name in _HEADS:
        if data.startswith(head, place):
            return name
    if data[:1] == b"\xff" and data[1:2] >= b"\xe0":  # eleven bits of an MPEG frame; layer 0 is aac
        return "mp3" if data[1] & 0x06 else "aac"
    return None


class _Bytes(io.BytesIO):
    """Damaged files send the reader to places outside of them, and soundfile would print the exception."""

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return super().seek(0)


def _by_soundfile(data: bytes, limits: Limits) -> Decoded | Missing | None:
    """None where soundfile cannot open the bytes, or cannot read them to their end."""
    import soundfile

    blocks, notes = [], []
    try:
        with soundfile.SoundFile(_Bytes(data)) as file:
            rate, channels, left = file.samplerate, file.channels, file.frames
            if rate not in _RATES:
                return Missing("impossible rate")
            if left > (most := math.ceil(limits.seconds * rate)):
                left = most
                notes.append(f"cut at {limits.seconds:g} seconds")
            while left > 0:
                block = file.read(min(left, max(1, _BLOCK // channels)), dtype="float32", always_2d=True)
                blocks.append(_mean(block, 1) if channels > 1 else block[:, 0])
                left -= len(block)
                if not len(block):
                    notes.append("truncated")
                    break
    except soundfile.SoundFileError:
        return None
    if _cut_off(data) and not notes:
        notes.append("truncated")
    if channels > 1:
        notes.append(f"{channels} channels mixed to one")
    return _joined(blocks), rate, notes


def _cut_off(data: bytes) -> bool:
    """Does a wav file say that it is longer than it is? soundfile reads such a file without a word."""
    size = 8 + int.from_bytes(data[4:8], "little")
    return data[:4] == b"RIFF" and len(data) < size < _STREAMED


def _by_av(data: bytes, demuxer: str, limits: Limits) -> Decoded | Missing:
    """The first audio stream, up to its end or to the first frame that cannot be decoded."""
    import av
    from av.error import FFmpegError

    blocks, notes = [], []
    rate = channels = count = 0
    try:
        with av.open(io.BytesIO(data), mode="r", format=demuxer, metadata_errors="ignore") as container:
            if not container.streams.audio:
                return Missing("no audio in it")
            for frame in container.decode(container.streams.audio[0]):
                rate, channels = rate or frame.sample_rate, channels or frame.layout.nb_channels
                if rate not in _RATES:
                    return Missing("impossible rate")
                if (frame.sample_rate, frame.layout.nb_channels) != (rate, channels):
                    notes.append("damaged: read up to there")
                    break
                blocks.append(_mixed(frame))
                count += len(blocks[-1])
                if count > (most := math.ceil(limits.seconds * rate)):
                    blocks[-1] = blocks[-1][: most - count]
                    notes.append(f"cut at {limits.seconds:g} seconds")
                    break
    except (FFmpegError, *_BROKEN):
        if not count:
            return Missing("damaged")
        notes.append("damaged: read up to there")
    if channels > 1:
        notes.append(f"{channels} channels mixed to one")
    return _joined(blocks), rate, notes


def _mixed(frame: av.AudioFrame) -> np.ndarray:
    """One channel, float32 [samples]."""
    values = frame.to_ndarray()
    values = values if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels).T
    kind = values.dtype.str[1:]
    if kind in _SCALE:
        values = (values.astype(np.float64) - (128 if kind == "u1" else 0)) / _SCALE[kind]
    return _mean(values, 0) if len(values) > 1 else values[0].astype(np.float32)


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """The mean over channels, which may hold infinity of either sign."""
    with np.errstate(invalid="ignore", over="ignore"):
        return values.mean(axis).astype(np.float32)


def _joined(blocks: list[np.ndarray]) -> np.ndarray:
    return blocks[0] if len(blocks) == 1 else np.concatenate([np.zeros(0, np.float32), *blocks])


def resample(waves: np.ndarray, before: int, after: int) -> np.ndarray:
    """float32 [T] at the rate `before` -> float32 [about T * after / before], antialiased.

    The ratio is taken to the nearest fraction of numbers up to 1000.
    """
    from scipy.signal import resample_poly

    ratio = Fraction(after, before).limit_denominator(1000)
    return resample_poly(waves, ratio.numerator, ratio.denominator).astype(np.float32)


@lru_cache(maxsize=64)
def mel_bank(rate: int, size: int, bands: int) -> np.ndarray:
    """float32 [size // 2 + 1, bands]: how much of each Fourier bin of a transform of `size` numbers goes into each band."""
    edges = _edges(bands)
    hertz = np.arange(size // 2 + 1)[:, None] * (rate / size)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    weights = np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle)).clip(min=0.0)
    nearest = (np.abs(hertz - middle).argmin(0), np.arange(bands))
    narrow = (weights.sum(0) == 0) & (middle <= rate / 2)  # a triangle between two bins takes the nearer
    weights[nearest] += narrow
    return (weights / weights.sum(0).clip(min=1e-12)).astype(np.float32)


def mel_power(waves: np.ndarray, rate: int, bands: int) -> Tensor:
    """float32 [T] -> float32 [frames, bands], the mean power in each band; frame i looks around i * HOP seconds."""
    import torch

    hop, window, size, weights, bank = _transform(rate, bands)
    frames = frames_of(len(waves), rate)
    padded = torch.zeros((frames - 1) * hop + window)
    padded[window // 2 : window // 2 + len(waves)] = torch.from_numpy(waves)[: len(padded) - window // 2]
    pieces = padded.unfold(0, window, hop)
    step = max(1, _BLOCK // size)
    found = []
    for start in range(0, frames, step):
        spectrum = torch.view_as_real(torch.fft.rfft(pieces[start : start + step] * weights, size))
        found.append(spectrum.square_().sum(2) @ bank)
    return torch.cat(found) if len(found) > 1 else found[0]


def frames_of(count: int, rate: int) -> int:
    """How many frames the spectrogram of `count` samples has."""
    return 1 + count // _hop(rate)


def _hop(rate: int) -> int:
    return max(1, round(HOP * rate))


@lru_cache(maxsize=64)
def _transform(rate: int, bands: int) -> tuple[int, int, int, Tensor, Tensor]:
    import torch

    hop, window = _hop(rate), max(2, round(WINDOW * rate))
    size = max(64, 1 << (window - 1).bit_length())
    weights = torch.hann_window(window)
    weights /= weights.square().sum().sqrt()
    return hop, window, size, weights, torch.from_numpy(mel_bank(rate, size, bands))


def log_mel(waves: np.ndarray, rate: int, bands: int) -> Tensor:
    """float32 [T] -> float32 [frames, bands], in decibels about their median: the level of a recording does not count.

    Cells more than 80 dB below the loudest are raised to that. Bands above half the rate are zero.
    """
    return decibels(mel_power(waves, rate, bands), rate)


def decibels(power: Tensor, rate: int) -> Tensor:
    """Mean power [frames, bands] -> decibels about their (lower) median, as `log_mel` gives them."""
    import torch

    filled = filled_bands(rate, power.shape[1])
    floor = max(float(power.max()) * 10 ** (-_RANGE / 10), 1e-20)
    found = torch.zeros_like(power)
    values = power[:, :filled].clamp(min=floor).log10_().mul_(10)
    found[:, :filled] = values - values.median()
    return found


@lru_cache(maxsize=64)
def filled_bands(rate: int, bands: int) -> int:
    """How many of the bands have their middle below half the rate; one at least."""
    return max(1, int((_edges(bands)[1:-1] <= rate / 2).sum()))


def _edges(bands: int) -> np.ndarray:
    """float64 [bands + 2], hertz: band i rises from edge i to edge i + 1 and falls to edge i + 2."""
    return to_hertz(np.linspace(to_mel(_LOW), to_mel(TOP), bands + 2))


def to_mel(hertz: float | np.ndarray) -> np.ndarray:
    return 2595 * np.log10(1 + np.asarray(hertz) / 700)


def to_hertz(mel: float | np.ndarray) -> np.ndarray:
    return 700 * (10 ** (np.asarray(mel) / 2595) - 1)
