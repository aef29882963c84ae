"""What an encoder receives, made ready for a page by type and shape alone: no modality is known here.

    uint8 [3, H, W], [1, H, W], [H, W]      picture, as PNG
    float [T], up to SHORT                  numbers with bars
    float [T], longer                       line; of [C, T] and [T, C] with few C, a line for each
    float [F, T], bool [F, T]               heat map, as PNG; the first row is at the top
    int [N], bool [N], one number           list
    more axes, int [K, N]                   a stack of what has an axis less
    strings; (string, int)                  words; words with a count
    (string, float); (string, string)       names with bars; a table

Heat maps go from dark to bright in equal steps of lightness, from the least value to the greatest (five anchors of viridis,
Smith and van der Walt 2015), so that they read in grey and without red or green. A scale with zero in its middle was tried:
it leaves half of the range to logarithms of power, in which zero means nothing. Everything is a function of the values: the
same ones give the same bytes.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from consilience.encoders.base import Received

SHORT = 32
"""So many numbers are written out; more are drawn as a line."""

FEW = 6
"""So many rows, or columns, of numbers are lines of their own; more are a heat map."""

STACKED, LISTED = 8, 1000  # what is drawn of a stack, and of a list, at most
_POINTS = 400  # places along a line: of the values that share one, the least and the greatest are drawn
_SIDE = 1024  # pixels a side of a heat map at most
_COLOURS = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
_VISIBLE = {code: 0x2400 + code for code in range(32) if code not in (9, 10)} | {127: 0x2421}

Form = Literal["bars", "heat", "lines", "picture", "stack", "table", "words"]


@dataclass(frozen=True)
class Drawing:
    """One value, ready to be shown. `form` says which kind of `parts` it has; `more` of them were left out."""

    form: Form
    caption: str
    parts: tuple[Any, ...]
    more: int = 0


@dataclass(frozen=True)
class Bitmap:
    """A PNG. `colours` and the two ends are for the scale of a heat map."""

    uri: str
    width: int
    height: int
    colours: tuple[str, ...] = ()
    low: str = ""
    high: str = ""


@dataclass(frozen=True)
class Line:
    """Points "x,y ..." in 0..`width` and 0..100, y downwards; its ends; the place of zero, where it is in sight."""

    points: tuple[str, ...]
    width: int
    low: str
    high: str
    zero: float | None


@dataclass(frozen=True)
class Bar:
    """A name, a number as text, and in percent where its bar starts and how wide it is; None: it has no bar."""

    label: str
    value: str
    left: float
    width: float | None


@np.errstate(over="ignore", invalid="ignore")  # numbers near the end of the range are drawn as well as may be
def draw(value: Received) -> Drawing:
    """The drawing of one thing that an encoder receives."""
    if isinstance(value, Tensor):
        return _tensor(value.detach().cpu())
    kept, more = list(value[:LISTED]), max(0, len(value) - LISTED)
    caption = "1 entry" if len(value) == 1 else f"{len(value)} entries"
    if all(isinstance(item, str) for item in kept):
        return Drawing("words", caption, tuple((visible(str(item)), "") for item in kept), more)
    pairs = [(visible(item[0]), item[1]) for item in kept]
    if all(isinstance(second, str) for _, second in pairs):
        return Drawing("table", caption, tuple((label, visible(str(second))) for label, second in pairs), more)
    if all(isinstance(second, int) for _, second in pairs):
        return Drawing("words", caption, tuple((label, str(second)) for label, second in pairs), more)
    numbers = [float(second) for _, second in pairs]
    return Drawing("bars", caption, _bars([label for label, _ in pairs], numbers), more)


def written(value: float) -> str:
    """A number in four figures: 0.25, -1.235e-05, NaN."""
    return "NaN" if math.isnan(value) else format(value, ".4g")


def visible(text: str) -> str:
    """A text in which everything can be seen: control characters as their pictures, outer spaces as open boxes."""
    text = text.encode("utf-8", "replace").decode("utf-8").translate(_VISIBLE)
    core = text.strip(" ")
    if not core:
        return "\N{OPEN BOX}" * len(text)
    start = text.index(core)
    return "\N{OPEN BOX}" * start + core + "\N{OPEN BOX}" * (len(text) - start - len(core))


def _tensor(value: Tensor, ends: tuple[float, float] | None = None) -> Drawing:
    """`ends` are those of the scale that the parts of a stack share; None: the value's own."""
    caption = f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if not value.numel():
        return Drawing("words", f"{caption}, no values", ())
    if value.dtype == torch.uint8 and (value.ndim == 2 or (value.ndim == 3 and value.shape[0] in (1, 3))):
        pixels = value.numpy() if value.ndim == 2 else value.permute(1, 2, 0).squeeze(2).numpy()
        return Drawing("picture", f"{pixels.shape[1]} x {pixels.shape[0]} pixels, {caption}", (_bitmap(pixels),))
    if value.dtype == torch.bool or not value.is_floating_point():
        if value.ndim < 2:
            items = value.reshape(-1)[:LISTED].tolist()
            words = tuple((str(item).lower() if isinstance(item, bool) else str(item), "") for item in items)
            return Drawing("words", caption, words, value.numel() - len(words))
        if value.ndim > 2 or value.dtype != torch.bool:
            return _stack(value, caption)
    numbers = value.to(torch.float64).numpy()
    caption, ends = f"{caption}, {_range(numbers)}", ends or _ends(numbers)
    while numbers.ndim > 1 and numbers.shape[0] == 1:
        numbers = numbers[0]
    if numbers.ndim > 2:
        return _stack(torch.from_numpy(numbers), caption, ends)
    return _numbers(numbers, caption, ends)


def _numbers(values: np.ndarray, caption: str, ends: tuple[float, float]) -> Drawing:
    """Float64 with at most two axes."""
    if values.ndim == 0:
        return Drawing("words", caption, ((written(float(values)), ""),))
    if values.ndim == 1 and len(values) <= SHORT:
        return Drawing("bars", caption, _bars([str(place) for place in range(len(values))], values.tolist()))
    if values.ndim == 1:
        return Drawing("lines", caption, (_line(values),))
    rows, columns = values.shape
    if rows <= FEW and columns > SHORT:
        return Drawing("lines", caption, tuple(_line(row) for row in values))
    if columns <= FEW and rows > SHORT:
        return Drawing("lines", caption, tuple(_line(column) for column in values.T))
    return Drawing("heat", f"{caption}, row 0 at the top", (_heat(values, *ends),))


def _stack(value: Tensor, caption: str, ends: tuple[float, float] | None = None) -> Drawing:
    parts = tuple(_tensor(part, ends) for part in value[:STACKED])
    return Drawing("stack", caption, parts, len(value) - len(parts))


def _ends(values: np.ndarray) -> tuple[float, float]:
    """The least and the greatest finite value; zeros without any."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _range(values: np.ndarray) -> str:
    """Least, greatest and mean; how many are not finite."""
    finite = values[np.isfinite(values)]
    odd = values.size - finite.size
    parts = [f"{odd} not finite"] if odd else []
    if finite.size == 1:
        parts.insert(0, written(float(finite[0])))
    elif finite.size:
        parts.insert(0, f"{written(finite.min())} to {written(finite.max())}, mean {written(finite.mean())}")
    return ", ".join(parts)


def _bars(labels: Sequence[str], values: Sequence[float]) -> tuple[Bar, ...]:
    """Bars from zero, all of one scale that holds zero."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    span = high - low or 1.0
    return tuple(
        Bar(
            label,
            written(value),
            round(100 * (min(value, 0.0) - low) / span, 2) if math.isfinite(value) else 0.0,
            round(100 * abs(value) / span, 2) if math.isfinite(value) else None,
        )
        for label, value in zip(labels, values, strict=True)
    )


def _line(values: np.ndarray) -> Line:
    """Strokes through [T] values; one that is not finite leaves a gap."""
    low, high = _ends(values)
    span = high - low or 1.0
    strokes: list[list[str]] = [[]]
    for place, part in enumerate(np.array_split(values, min(_POINTS, len(values)))):
        if np.isfinite(part).all():
            ends = (min, max) if part.argmin() < part.argmax() else (max, min)  # in the order in which they come
            strokes[-1] += [f"{place},{100 * (high - float(end(part))) / span:.1f}" for end in ends]
        elif strokes[-1]:
            strokes.append([])
    zero = round(100 * high / span, 1) if low < 0 < high else None
    points, last = tuple(" ".join(stroke) for stroke in strokes if stroke), min(_POINTS, len(values)) - 1
    return Line(points, max(1, last), written(low), written(high), zero)


def _heat(values: np.ndarray, low: float, high: float) -> Bitmap:
    """[F, T] values in colour, `low` dark and `high` bright; grey where they are not finite."""
    finite = np.isfinite(values)
    share = (np.where(finite, values, low) - low) / (high - low or 1.0)
    anchors = np.array([[int(colour[start : start + 2], 16) for start in (1, 3, 5)] for colour in _COLOURS], dtype=float)
    places = np.linspace(0, 1, len(_COLOURS))
    pixels = np.stack([np.interp(share, places, anchors[:, channel]) for channel in range(3)], axis=2)
    pixels[~finite] = 128
    return _bitmap(pixels.round().astype(np.uint8), _COLOURS, written(low), written(high))


def _bitmap(pixels: np.ndarray, colours: tuple[str, ...] = (), low: str = "", high: str = "") -> Bitmap:
    image = PIL.Image.fromarray(np.ascontiguousarray(pixels))
    if max(image.size) > _SIDE:
        size = (min(image.width, _SIDE), min(image.height, _SIDE))
        image = image.resize(size, PIL.Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    uri = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Bitmap(uri, pixels.shape[1], pixels.shape[0], colours, low, high)
