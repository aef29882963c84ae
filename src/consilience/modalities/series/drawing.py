"""A series as SVG: a line for each channel, tinted spans, and words for those who cannot see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

import numpy as np

_WIDTH, _HEIGHT, _ROOM = 480, 48, 14  # of a channel's field, and of its name above it
_POINTS = 240  # of a line; each is the lowest or the highest value of its stretch


def label(channels: Sequence[str], channel: int, span: slice, rate: float) -> str:
    """A span in words: "pulse, 0-7.5 s"."""
    return f"{_name(channels, channel)}, {span.start / rate:g}-{span.stop / rate:g} s"


def draw(
    values: np.ndarray,
    rate: float,
    channels: Sequence[str],
    spans: Sequence[tuple[int, slice]],
    weights: Mapping[int, float],
) -> str:
    """values [T, C] as a `<figure>`; `spans` are (channel, steps), tinted by `weights` of their index."""
    steps, count = values.shape
    tints: list[str] = []
    for index, (channel, span) in enumerate(spans):
        weight = weights.get(index, 0.0)
        start, stop = (_WIDTH * step / steps for step in (span.start, span.stop))
        tints.append(
            f'<rect x="{start:.1f}" y="{channel * (_HEIGHT + _ROOM) + _ROOM}" width="{stop - start:.1f}" height="{_HEIGHT}" '
            f'fill="{"red" if weight < 0 else "blue"}" fill-opacity="{0.5 * min(1.0, abs(weight)):.3f}">'
            f"<title>{escape(label(channels, channel, span, rate))}: {weight:+.2f}</title></rect>"
        )
    lines = [_line(values[:, channel], channel * (_HEIGHT + _ROOM), _name(channels, channel)) for channel in range(count)]
    described = escape(_describe(values, rate, channels, spans, weights))
    return (
        f'<figure style="margin:0"><svg role="img" aria-label="{described}" viewBox="0 0 {_WIDTH} {count * (_HEIGHT + _ROOM)}" '
        f'width="{_WIDTH}" xmlns="http://www.w3.org/2000/svg">{"".join(tints)}{"".join(lines)}</svg></figure>'
    )


def _name(channels: Sequence[str], channel: int) -> str:
    return channels[channel] if channels else f"channel {channel + 1}"


def _line(values: np.ndarray, top: int, name: str) -> str:
    """The name and the line of one channel, broken where values are missing."""
    there = values[~np.isnan(values)]
    low, high = (float(there.min()), float(there.max())) if len(there) else (0.0, 0.0)
    text = f'<text x="0" y="{top + _ROOM - 3}" font-size="11">{escape(name)}: {low:g} to {high:g}</text>'
    places = _chosen(values)
    heights = np.full(len(places), 0.5) if high == low else (values[places].astype(float) - low) / (high - low)
    heights[np.isnan(values[places])] = np.nan
    drawn, pen = [], "M"
    for place, height in zip(places, heights, strict=True):
        if np.isnan(height):
            pen = "M"
            continue
        x = _WIDTH * (place + 0.5) / len(values)
        drawn.append(f"{pen}{x:.1f} {top + _ROOM + 2 + (_HEIGHT - 4) * (1 - height):.1f}")
        pen = "L"
    return f'{text}<path d="{"".join(drawn)}" fill="none" stroke="currentColor" stroke-width="1" stroke-linecap="round"/>'


def _chosen(values: np.ndarray) -> np.ndarray:
    """The steps to draw: all, or of each stretch the one with the lowest and the one with the highest value."""
    if len(values) <= _POINTS:
        return np.arange(len(values))
    cuts = np.linspace(0, len(values), _POINTS // 2 + 1).round().astype(int)
    chosen: set[int] = set()
    for start, stop in pairwise(cuts):
        stretch = values[start:stop]
        empty = np.isnan(stretch)
        if empty.any():
            chosen.add(start + int(np.flatnonzero(empty)[0]))
        if not empty.all():
            chosen |= {start + int(np.nanargmin(stretch)), start + int(np.nanargmax(stretch))}
    return np.array(sorted(chosen))


def _describe(
    values: np.ndarray, rate: float, channels: Sequence[str], spans: Sequence[tuple[int, slice]], weights: Mapping[int, float]
) -> str:
    steps, count = values.shape
    text = [f"series of {steps} steps and {count} channel{'s' if count > 1 else ''}"]
    ranked = sorted(range(len(spans)), key=lambda index: weights.get(index, 0.0))
    for word, index, sign in (("for", ranked[-1], 1), ("against", ranked[0], -1)):
        weight = weights.get(index, 0.0)
        if sign * weight > 0:
            text.append(f"most {word}: {label(channels, *spans[index], rate)} ({weight:+.2f})")
    return "; ".join(text)
