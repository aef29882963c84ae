"""What several media modalities share: the bytes of a cell under limits, and pictures decoded, reduced and fitted.

Decisions. A bad cell is `Missing` with a short countable reason, never an error. The pixel limit is checked on the
header, before anything is decoded. Only the formats in `FORMATS` are opened: Pillow's others are rare, or run other
programs. Colour profiles are not applied. Pictures become RGB on white, upright by their EXIF orientation, and at most
`longest` pixels on the longest side: JPEG is decoded at the nearest larger eighth, quarter or half (`draft`, 5 times
faster on photographs), the rest is an antialiased bicubic reduction. Reading needs no torch; `square`, for encoders,
uses torch's antialiased uint8 resize, which is 4 to 8 times faster than Pillow's (0.17 against 1.0 ms for 512 x 384 to
64 x 64) and within one level of it.

Pillow warns about damaged files and large pictures. Those are reasons and notes here, so its warnings are ignored, from
the first picture on and for the whole process: `warnings.catch_warnings` is not safe in worker threads.
"""

from __future__ import annotations

import io
import stat
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import PIL
import PIL.Image

from consilience.types import Cell, Limits, Missing

if TYPE_CHECKING:
    from torch import Tensor

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")

_BROKEN = (OSError, SyntaxError, ValueError)

_ORIENTATION = 0x0112  # the EXIF tag
_UPRIGHT = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}


def read_bytes(cell: Cell, limits: Limits) -> bytes | Missing:
    """The bytes that a media cell holds or names: None, an empty string, `bytes`, or an absolute `Path`."""
    if cell is None or isinstance(cell, str | bytes) and not cell:
        return Missing("empty")
    if isinstance(cell, bytes):
        return cell if len(cell) <= limits.bytes else Missing("over the byte limit")
    if not isinstance(cell, Path):
        return Missing("neither a path nor bytes")
    try:
        about = cell.stat()
        if stat.S_ISDIR(about.st_mode):
            return Missing("is a directory")
        if not stat.S_ISREG(about.st_mode):  # a pipe or a device could be read for ever
            return Missing("not a file")
        if about.st_size > limits.bytes:
            return Missing("over the byte limit")
        return cell.read_bytes() or Missing("empty file")
    except PermissionError:
        return Missing("no permission")
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name that no file can have
        return Missing("file not found")
    except OSError:
        return Missing("cannot be read")


def exists(path: Path) -> bool:
    """Is there a file? False also for names that no file can have and for folders that may not be entered."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_picture(data: bytes) -> bool:
    """Do the bytes start with a header that can be read as a picture?"""
    return not isinstance(_open(data), Missing)


def decode_picture(data: bytes, limits: Limits, longest: int) -> tuple[np.ndarray, tuple[str, ...]] | Missing:
    """Bytes -> uint8 RGB [H, W, 3], H and W at most `longest`, and notes on what was cut or repaired."""
    image = _open(data)
    if isinstance(image, Missing):
        return image
    with image:
        if image.width * image.height > limits.pixels:
            return Missing("over the pixel limit")
        try:
            return _decode(image, longest)
        except _BROKEN as error:
            return Missing("truncated" if "truncated" in str(error) else "damaged")


def square(pixels: np.ndarray, side: int, fit: Literal["pad", "squash"]) -> Tensor:
    """uint8 [H, W, 3] -> uint8 [3, side, side], antialiased."""
    import torch
    import torch.nn.functional as F

    values = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(2, 0, 1).unsqueeze(0)
    height, width = pixels.shape[:2]
    if fit == "squash":
        return F.interpolate(values, size=(side, side), mode="bilinear", antialias=True)[0]
    size = within((width, height), side) if max(width, height) >= side else None
    raise NotImplementedError(size)


def within(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """(width, height) reduced so that the longer is at most `longest`; never below 1, never enlarged."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _open(data: bytes) -> PIL.Image.Image | Missing:
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        image = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
    except PIL.Image.DecompressionBombError:
        return Missing("over the pixel limit")
    except PIL.UnidentifiedImageError:
        return Missing("not an image")
    except _BROKEN as error:
        return Missing("truncated" if "truncated" in str(error) else "damaged")
    return image if image.width and image.height else Missing("no pixels")


def _decode(image: PIL.Image.Image, longest: int) -> tuple[np.ndarray, tuple[str, ...]] | Missing:
    notes = []
    reduced = max(image.size) > longest
    image.draft(None, within(image.size, longest))
    image.load()
    orientation = image.getexif().get(_ORIENTATION)
    if getattr(image, "is_animated", False):
        notes.append("only the first frame read")
    if image.mode == "LAB":
        return Missing("LAB colours are not supported")
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
        notes.append("more than 8 bits: scaled to its own range")
    transparent = image.has_transparency_data
    image = image.convert("RGBA" if transparent else "RGB")
    if reduced:
        notes.append(f"reduced to {longest} pixels")
        image = image.resize(within(image.size, longest), PIL.Image.Resampling.BICUBIC, reducing_gap=2.0)
    if transparent:
        white = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(white, image).convert("RGB")
        notes.append("transparency laid on white")
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    return np.array(image), tuple(notes)


def _eight_bits(image: PIL.Image.Image) -> PIL.Image.Image:
    values = np.asarray(image if image.mode == "F" else image.convert("I"))
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise ValueError("no finite value")
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        return PIL.Image.new("L", image.size)
    return PIL.Image.fromarray(np.interp(np.nan_to_num(values, nan=low), [low, high], [0, 255]).round().astype(np.uint8))
