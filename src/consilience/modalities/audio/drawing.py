"""A recording as HTML: waveform, spectrogram with tinted parts, and the sound itself where it is short."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence

import numpy as np
import PIL.Image

from consilience.modalities.audio.sample import Sound, regions
from consilience.sound import filled_bands, log_mel, to_mel
from consilience.types import Part

_WIDTH, _WAVE, _MAP = 320, 60, 160  # pixels: the figure, the height of its waveform, that of its spectrogram
_BANDS = 64
_SHADES = 60.0  # decibels from black to white
_PLAYED = 150_000  # bytes of a wav file that is put in: 4.7 s at 16 kHz


def draw(sound: Sound, parts: Sequence[Part], weights: Mapping[int, float]) -> str:
    """One `<figure>`. Blue speaks for, red against, as dark as the weight in -1..1 is large."""
    seconds = len(sound.waves) / sound.rate
    text = html.escape(_describe(seconds, sound.rate, parts, weights))
    return (
        f'<figure style="display:inline-block;margin:0;line-height:0;width:{_WIDTH}px">'
        f'<svg role="img" aria-label="{text}" viewBox="0 0 {_WIDTH} {_WAVE + _MAP}" width="{_WIDTH}" height="{_WAVE + _MAP}">'
        f'<path d="{_outline(sound.waves)}" fill="none" stroke="currentColor" />'
        f'<image x="0" y="{_WAVE}" width="{_WIDTH}" height="{_MAP}" preserveAspectRatio="none" '
        f'href="data:image/png;base64,{_spectrogram(sound)}" />{_tints(sound, parts, weights)}</svg>{_player(sound)}</figure>'
    )


def _outline(waves: np.ndarray) -> str:
    """A vertical line a pixel, from the least to the greatest sample there, in the scale of the loudest."""
    cuts = np.linspace(0, len(waves), min(_WIDTH, len(waves)) + 1).astype(int)[:-1]
    scale = _WAVE / 2 / max(float(np.abs(waves).max()), 1e-9)
    tops, ends = (_WAVE / 2 - scale * find.reduceat(waves, cuts) for find in (np.maximum, np.minimum))
    places = (np.arange(len(cuts)) + 0.5) * _WIDTH / len(cuts)
    return "".join(f"M{x:.1f} {top:.1f}V{max(end, top + 0.5):.1f}" for x, top, end in zip(places, tops, ends, strict=True))


def _spectrogram(sound: Sound) -> str:
    """PNG in base64: time along, the bands that the rate can hold up, loud is dark."""
    levels = log_mel(sound.waves, sound.rate, _BANDS)[:, : filled_bands(sound.rate, _BANDS)].numpy()
    shades = ((levels.max() - levels) * (255 / _SHADES)).clip(0, 255).astype(np.uint8)
    image = PIL.Image.fromarray(np.ascontiguousarray(shades.T[::-1]))
    if image.width > 2 * _WIDTH:
        image = image.resize((2 * _WIDTH, image.height), PIL.Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _tints(sound: Sound, parts: Sequence[Part], weights: Mapping[int, float]) -> str:
    tints, top = [], float(to_mel(sorted({region.high for region in regions(sound)})[-1]))
    for part, region in zip(parts, regions(sound), strict=True):
        left, right = (_WIDTH * place / len(sound.waves) for place in (region.start, region.stop))
        upper, lower = (_WAVE + _MAP * (1 - float(to_mel(hertz)) / top) for hertz in (region.high, region.low))
        weight = weights.get(part.index, 0.0)
        tints.append(
            f'<rect x="{left:.1f}" y="{upper:.1f}" width="{right - left:.1f}" height="{lower - upper:.1f}" '
            f'fill="{"red" if weight < 0 else "blue"}" fill-opacity="{0.6 * min(1.0, abs(weight)):.3f}">'
            f"<title>{html.escape(part.label)}: {weight:+.2f}</title></rect>"
        )
    return "".join(tints)


def _player(sound: Sound) -> str:
    import soundfile

    if 44 + 2 * len(sound.waves) > _PLAYED:
        return ""
    buffer = io.BytesIO()
    soundfile.write(buffer, sound.waves, sound.rate, format="WAV", subtype="PCM_16")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<audio controls="controls" preload="none" style="width:100%" src="data:audio/wav;base64,{data}"></audio>'


def _describe(seconds: float, rate: int, parts: Sequence[Part], weights: Mapping[int, float]) -> str:
    """What is to be seen in the drawing, for those who cannot see it."""
    text = [f"recording of {seconds:.2f} seconds at {rate} Hz"]
    ranked = sorted(parts, key=lambda part: weights.get(part.index, 0.0))
    for word, part, sign in (("for", ranked[-1], 1), ("against", ranked[0], -1)):
        weight = weights.get(part.index, 0.0)
        if sign * weight > 0:
            text.append(f"most {word}: {part.label} ({weight:+.2f})")
    return "; ".join(text)
