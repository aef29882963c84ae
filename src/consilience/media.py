"""What several media modalities share: the bytes of a cell under limits, and pictures decoded, reduced and fitted.

Decisions. A bad cell is `Missing` with a short countable reason, never an error. The pixel limit is checked on the
header, before anything is decoded. Only the formats in `FORMATS` are opened: Pillow's others are rare, or run other
programs. Pictures become 8-bit RGB on white, upright by their EXIF orientation, and at most `longest` pixels on the
longest side. A JPEG is decoded at a half, a quarter or an eighth where that is still large enough (`draft`); the rest
is an antialiased bicubic reduction. Deep grey pictures are scaled from their own range; deep RGB reaches us as its high
bytes, because Pillow reads no more. Colour profiles are not applied.

Reading needs no torch. `square`, for encoders, uses torch's antialiased uint8 resize: within one level of Pillow's, and
6 times faster (0.17 against 1.03 ms for 512 x 384 to 64 x 64, one core).

Pillow warns about large and damaged files. Those are reasons here, so its warnings are ignored for the whole process
from the first picture on; `warnings.catch_warnings` around each read would not be safe in worker threads. It also has a
bound of its own, 179 million pixels, which no `Limits` raises.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import PIL
import PIL.Image

from consilience.errors import fail
from consilience.types import Cell, Limits, Missing

if TYPE_CHECKING:
    from torch import Tensor

OUTSIDE = "outside the media root"
"""Why a file is missing that a table must not name, whether there is one or not."""

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")

# What Pillow raises for bad files, found by feeding it nine million damaged ones.
_BROKEN = (OSError, SyntaxError, ValueError, LookupError, ArithmeticError, TypeError, RuntimeError, EOFError)
_BROKEN += (struct.error, AssertionError)

_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)  # as `warnings.filters` holds it

_PROTOCOL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")

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
    """The bytes that a media cell holds or names: None, an empty string, `bytes`, an absolute `Path`, or a URL."""
    if cell is None or (isinstance(cell, str | bytes) and not cell):
        return Missing("empty")
    if isinstance(cell, bytes):
        return cell if len(cell) <= limits.bytes else Missing("over the byte limit")
    if isinstance(cell, str) and is_url(cell):
        return _fetched(cell, limits)
    if not isinstance(cell, Path):
        return Missing("neither a path nor bytes")
    if not allowed(cell, limits):
        return Missing(OUTSIDE)
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


def allowed(path: Path, limits: Limits) -> bool:
    """May the file be opened: does it lie below `limits.root`, where there is one, after every .. and link is followed?"""
    if limits.root is None:
        return True
    try:
        found = os.path.realpath(path)
    except ValueError:  # a name that no file can have
        return True
    return found.startswith(str(limits.root).rstrip(os.sep) + os.sep)


def is_url(cell: str | Path) -> bool:
    """Does it name something by protocol and address: https://, s3://?"""
    return isinstance(cell, str) and _PROTOCOL.match(cell) is not None


def ending(cell: str | Path) -> str:
    """What the name of a file ends in, in lower case (".png"); of a URL without what follows ? or #."""
    return Path(urlsplit(cell).path if isinstance(cell, str) and is_url(cell) else cell).suffix.lower()


def _fetched(address: str, limits: Limits) -> bytes | Missing:
    """What stands at a URL. Only where the recipe says so: to open a stranger's table must not call anybody."""
    if not limits.urls:
        return Missing("a URL, and limits.urls is false")
    import fsspec

    try:
        with fsspec.open(address, "rb") as file:
            data: bytes = file.read(limits.bytes + 1)  # type: ignore[union-attr]
    except ImportError as error:
        raise fail(
            f"{address} cannot be fetched with what is installed: {error}", "fsspec", "pip install consilience[url]"
        ) from None
    except Exception:  # every protocol has errors of its own, without a common base
        return Missing("cannot be fetched")
    if len(data) > limits.bytes:
        return Missing("over the byte limit")
    return data or Missing("empty file")


def exists(path: Path) -> bool:
    """Is there a file? False also for names that no file can have and for folders that may not be entered."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


@cache
def picture_endings() -> frozenset[str]:
    """The file name endings of `FORMATS` (".png"), as far as this Pillow was built for them."""
    return frozenset(ending for ending, name in PIL.Image.registered_extensions().items() if name in FORMATS)


def is_picture(data: bytes) -> bool:
    """Do the bytes start with a header that can be read as a picture?"""
    return not isinstance(_open(data), Missing)


def decode_picture(data: bytes, limits: Limits, longest: int) -> tuple[np.ndarray, tuple[str, ...]] | Missing:
    """Bytes -> uint8 RGB [H, W, 3], H and W at most `longest`, and notes on what was cut or repaired."""
    image = _open(data)
    if isinstance(image, Missing):
        return image
    if image.width * image.height > limits.pixels:
        return Missing("over the pixel limit")
    notes = []
    large = max(image.size) > longest
    try:
        if getattr(image, "is_animated", False):
            notes.append("only the first frame read")
        image.draft(None, within(image.size, longest))
        image.load()
    except _BROKEN as error:
        return _broken(error)
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except _BROKEN:
        turn = None
        notes.append("EXIF data could not be read")
    if image.mode.startswith(("I", "F")):
        image, repairs = _eight_bits(image)
        notes += repairs
    if image.mode == "LAB":
        return Missing("LAB colours are not supported")
    try:
        transparent = image.has_transparency_data
        image = image.convert("RGBA" if transparent else "RGB")
    except _BROKEN as error:  # a palette that is not there
        return _broken(error)
    if large:
        image = image.resize(within(image.size, longest), PIL.Image.Resampling.BICUBIC, reducing_gap=2.0)
        notes.append(f"reduced to {longest} pixels")
    if transparent:
        white = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(white, image).convert("RGB")
        notes.append("transparency laid on white")
    if turn is not None:
        image = image.transpose(turn)
    return np.array(image), tuple(notes)


def within(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """(width, height) reduced so that the longer is at most `longest`; never below 1, never enlarged."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def square(pixels: np.ndarray, side: int) -> Tensor:
    """uint8 [H, W, 3] -> uint8 [3, side, side], antialiased, the aspect ratio given up.

    Padding to keep it was no better on leaves, digits and drawings, and its borders are edges that are not there.
    """
    import torch
    import torch.nn.functional as F

    values = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
    return F.interpolate(values.permute(2, 0, 1)[None], size=(side, side), mode="bilinear", antialias=True)[0]


def _open(data: bytes) -> PIL.Image.Image | Missing:
    """A picture with its header read and its pixels not."""
    if warnings.filters[:1] != [_QUIET]:  # not at every call: putting it in front anew takes it out for a moment
        warnings.filterwarnings("ignore", module=_QUIET[3].pattern)
    try:
        image = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
    except PIL.Image.DecompressionBombError:
        return Missing("over the pixel limit")
    except PIL.UnidentifiedImageError:
        return Missing("not an image")
    except _BROKEN as error:
        return _broken(error)
    return image if image.width and image.height else Missing("no pixels")


def _broken(error: Exception) -> Missing:
    message = str(error).lower()
    return Missing("truncated" if "truncated" in message or "not enough" in message else "damaged")


def _eight_bits(image: PIL.Image.Image) -> tuple[PIL.Image.Image, list[str]]:
    """Grey of 16 or 32 bits -> 8 bits, the least finite value black and the greatest white; all black if constant."""
    notes = ["more than 8 bits: scaled from its own range"]
    values = np.asarray(image if image.mode == "F" else image.convert("I"))
    finite = values[np.isfinite(values)]
    if finite.size < values.size:
        notes.append("values that are not finite: NaN made black, infinity cut to the range")
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if low == high:
        return PIL.Image.new("L", image.size), notes
    scaled = np.interp(np.nan_to_num(values, nan=low), [low, high], [0, 255])
    return PIL.Image.fromarray(scaled.round().astype(np.uint8)), notes
