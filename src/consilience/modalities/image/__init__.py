"""The modality `image`: a cell names a picture file or holds its bytes.

Decisions. A picture is kept as 8-bit RGB of at most `LONGEST` pixels a side, which bounds memory (0.8 MB) and is more
than the encoders look at. Augmentation never mirrors: that would change digits, text and left and right. A part is
removed by painting its patch in the picture's mean colour, the least informative single colour, as in occlusion
sensitivity (Zeiler and Fergus 2014, section 4.2, where it is grey). The kinds of damage follow Hendrycks and Dietterich
2019 (noise, blur, JPEG, contrast), with occlusion added, and scale with the picture, so that 8 x 8 digits and
photographs are hurt alike.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import PIL.Image
import PIL.ImageFilter

from consilience.media import decode_picture, ending, exists, is_picture, is_url, picture_endings, read_bytes, within
from consilience.modalities.base import Corruption, Modality
from consilience.types import Cell, Claim, Column, Input, Limits, Missing, Part, Sample

LONGEST = 512
"""The longest side that a picture is kept at, in pixels."""

GRID = 4
"""Parts are the patches of a GRID x GRID grid."""

_CLAIMED = 0.8  # the share of cells that must look like pictures
_SHOWN = 256  # pixels of the longest side when drawn
_SHARP = 256 * 256  # pixels up to which augmentation interpolates; above, the encoder's own reduction smooths


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture(Sample):
    """pixels: uint8 [H, W, 3], RGB, H and W in 1..LONGEST."""

    pixels: np.ndarray

    @property
    def nbytes(self) -> int:
        return super().nbytes + self.pixels.nbytes


def _noise(pixels: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian, with a deviation of up to half the range."""
    return _bytes(pixels + 128 * severity * rng.standard_normal(pixels.shape))


def _blur(pixels: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian, with a radius of up to a tenth of the longest side."""
    radius = severity * max(pixels.shape[:2]) / 10
    return np.array(PIL.Image.fromarray(pixels).filter(PIL.ImageFilter.GaussianBlur(radius)))


def _occlusion(pixels: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """A rectangle of up to three quarters of each side, in the mean colour. A severer one contains a milder one."""
    covered = pixels.copy()
    spans = []
    for side, place in zip(pixels.shape[:2], rng.random(2), strict=True):
        extent = max(1, round(0.75 * severity * side))
        start = int(place * (side - extent + 1))
        spans.append(slice(start, start + extent))
    covered[tuple(spans)] = _mean_colour(pixels)
    return covered


def _jpeg(pixels: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Compression, at qualities from 25, as the paper's mildest, down to 1, by equal ratios."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "JPEG", quality=round(25 ** (1 - severity)))
    return np.array(PIL.Image.open(buffer))


def _fade(pixels: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Contrast down to a twentieth, towards the mean colour."""
    mean = pixels.mean((0, 1))
    return _bytes(mean + (1 - 0.95 * severity) * (pixels - mean))


def _damaged(
    damage: Callable[[np.ndarray, float, np.random.Generator], np.ndarray],
    sample: Picture,
    severity: float,
    rng: np.random.Generator,
) -> Picture:
    return replace(sample, pixels=damage(sample.pixels, severity, rng)) if severity > 0 else sample


class Image(Modality):
    """Pictures, one column an input."""

    name = "image"
    media = True
    corruptions: ClassVar[Mapping[str, Corruption]] = {
        "noise": partial(_damaged, _noise),
        "blur": partial(_damaged, _blur),
        "occlusion": partial(_damaged, _occlusion),
        "jpeg": partial(_damaged, _jpeg),
        "fade": partial(_damaged, _fade),
    }

    def detect(self, column: Column) -> Claim | None:
        """Claims columns in which 80% of the sampled cells name pictures, or hold bytes with a picture's header.

        A name with white space in it counts only where the file exists: a sentence may end in a file name.
        """
        endings: Counter[str] = Counter()
        found = held = urls = 0
        for cell in column.cells:
            if isinstance(cell, bytes):
                held += is_picture(cell)
            elif isinstance(cell, str | Path) and (last := ending(cell)) in picture_endings():
                there = exists(column.root / cell)
                if there or len(str(cell).split()) == 1:
                    endings[last] += 1
                    urls += is_url(cell)
                    found += there
        count, named = len(column.cells), endings.total()
        if not count or named + held < _CLAIMED * count:
            return None
        reasons = []
        if named:
            listed = ", ".join(last for last, _ in endings.most_common())
            there = f"{urls} of {named} are URLs" if urls else f"{found} of {named} exist"
            reasons.append(f"{named / count:.0%} of {count} sampled cells end in {listed} and {there}")
        if held:
            reasons.append(f"{held / count:.0%} of {count} sampled cells are bytes that start like a picture")
        return Claim(0.95, "; ".join(reasons))

    def read(self, input: Input, cells: Mapping[str, Cell], limits: Limits) -> Picture | Missing:
        """None, an empty string, an absolute `Path` or `bytes` -> `Picture`. See `consilience.media` for the rules."""
        data = read_bytes(cells[input.columns[0]], limits)
        if isinstance(data, Missing):
            return data
        decoded = decode_picture(data, limits, LONGEST)
        if isinstance(decoded, Missing):
            return decoded
        pixels, notes = decoded
        return Picture(pixels=pixels, notes=notes)

    def augment(self, sample: Picture, rng: np.random.Generator) -> Picture:
        """Moved by up to 6% of a side, scaled by up to 10%, turned by up to 10 degrees, and a little brighter or
        darker (25 levels) and of more or less contrast (20%). What comes into view has the mean colour of the rim.
        """
        along, down, zoom, turn, light, contrast = rng.uniform(-1, 1, 6)
        pixels = sample.pixels
        height, width = pixels.shape[:2]
        scale, angle = 1.1**zoom, np.deg2rad(10 * turn)
        cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
        # The map from new to old places: about the centre, after undoing the move.
        x, y = width / 2 + 0.06 * along * width, height / 2 + 0.06 * down * height
        matrix = (cos, sin, width / 2 - cos * x - sin * y, -sin, cos, height / 2 + sin * x - cos * y)
        rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).mean(0)
        resampling = PIL.Image.Resampling.BILINEAR if height * width <= _SHARP else PIL.Image.Resampling.NEAREST
        moved = PIL.Image.fromarray(pixels).transform(
            (width, height), PIL.Image.Transform.AFFINE, matrix, resampling, fillcolor=tuple(round(value) for value in rim)
        )
        middle = pixels.mean()
        levels = _bytes(middle + 25 * light + 1.2**contrast * (np.arange(256) - middle)).tolist()
        return replace(sample, pixels=np.array(moved.point(levels * 3)))

    def size(self, sample: Picture) -> int:
        """Its number of pixels."""
        return sample.pixels.shape[0] * sample.pixels.shape[1]

    def describe(self, sample: Picture) -> str:
        """Width and height as it is kept."""
        height, width = sample.pixels.shape[:2]
        return f"{width} x {height} pixels"

    def parts(self, sample: Picture) -> list[Part]:
        """The patches of a 4 x 4 grid, row by row; fewer for pictures of less than four pixels a side."""
        return [Part(index, label) for index, (label, _) in enumerate(_patches(sample.pixels))]

    def keep(self, sample: Picture, kept: Collection[int]) -> Picture:
        """The other patches painted in the mean colour of the whole picture."""
        pixels = sample.pixels.copy()
        for index, (_, patch) in enumerate(_patches(sample.pixels)):
            if index not in kept:
                pixels[patch] = _mean_colour(sample.pixels)
        return replace(sample, pixels=pixels)

    def draw(self, sample: Picture, weights: Mapping[int, float]) -> str:
        """A `<figure>` with the picture as PNG, 256 pixels on the longest side, and its patches tinted red or blue."""
        height, width = sample.pixels.shape[:2]
        buffer = io.BytesIO()
        PIL.Image.fromarray(sample.pixels).resize(within((width, height), _SHOWN)).save(buffer, "PNG")
        tints = []
        for index, (label, (rows, columns)) in enumerate(_patches(sample.pixels)):
            weight = weights.get(index, 0.0)
            tints.append(
                f'<rect x="{columns.start}" y="{rows.start}" width="{columns.stop - columns.start}" '
                f'height="{rows.stop - rows.start}" fill="{"red" if weight < 0 else "blue"}" '
                f'fill-opacity="{0.6 * min(1.0, abs(weight)):.3f}"><title>{label}: {weight:+.2f}</title></rect>'
            )
        scale = _SHOWN / max(height, width)
        return (
            '<figure style="position:relative;display:inline-block;margin:0;line-height:0">'
            f'<img alt="{self._describe(sample, weights)}" width="{round(width * scale)}" height="{round(height * scale)}" '
            f'style="image-rendering:pixelated" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}" />'
            f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" '
            f'style="position:absolute;inset:0;width:100%;height:100%">{"".join(tints)}</svg></figure>'
        )

    def encoders(self) -> Mapping[str, str]:
        kinds = {"descriptor": "Descriptor", "scratch": "Scratch", "pretrained": "Pretrained"}
        return {name: f"{__name__}.{name}:{kind}" for name, kind in kinds.items()}

    def _describe(self, sample: Picture, weights: Mapping[int, float]) -> str:
        """What is to be seen in the drawing, for those who cannot see it."""
        height, width = sample.pixels.shape[:2]
        text = [f"picture of {width} x {height} pixels"]
        ranked = sorted(self.parts(sample), key=lambda part: weights.get(part.index, 0.0))
        for word, part, sign in (("for", ranked[-1], 1), ("against", ranked[0], -1)):
            weight = weights.get(part.index, 0.0)
            if sign * weight > 0:
                text.append(f"most {word}: {part.label} ({weight:+.2f})")
        return "; ".join(text)


def _bytes(values: np.ndarray) -> np.ndarray:
    return values.round().clip(0, 255).astype(np.uint8)


def _mean_colour(pixels: np.ndarray) -> np.ndarray:
    return _bytes(pixels.mean((0, 1)))


def _patches(pixels: np.ndarray) -> Sequence[tuple[str, tuple[slice, slice]]]:
    """Label and place of each patch."""
    rows, columns = (
        [slice(start, stop) for start, stop in pairwise(cuts)]
        for cuts in (np.linspace(0, side, min(GRID, side) + 1).round().astype(int).tolist() for side in pixels.shape[:2])
    )
    return [
        (f"row {row}, column {column}", (down, along))
        for row, down in enumerate(rows, 1)
        for column, along in enumerate(columns, 1)
    ]
