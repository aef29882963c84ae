"""Media: cells to bytes under limits, and pictures decoded, repaired, reduced and fitted."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data as photographs

from consilience.errors import ConsilienceError
from consilience.media import (
    decode_picture,
    ending,
    exists,
    is_picture,
    is_url,
    picture_endings,
    read_bytes,
    square,
    within,
)
from consilience.types import Limits, Missing

PHOTO = PIL.Image.fromarray(photographs.astronaut()).resize((60, 45))
ORIENTATION = 0x0112
LIMITS = Limits()


def encoded(image: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(data: bytes, longest: int = 512, limits: Limits = LIMITS) -> tuple[np.ndarray, tuple[str, ...]]:
    result = decode_picture(data, limits, longest)
    assert not isinstance(result, Missing), result.reason
    return result


def reason(data: bytes, limits: Limits = LIMITS) -> str:
    result = decode_picture(data, limits, 512)
    assert isinstance(result, Missing)
    return result.reason


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises width x height pixels and holds none."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (chunk, data, b"IEND")
    )


# Bytes of a cell


def test_bytes_and_files_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a b.bin"
    file.write_bytes(b"12345")
    assert read_bytes(b"abc", LIMITS) == b"abc"
    assert read_bytes(file, Limits(bytes=5)) == b"12345"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (None, "empty"),
        ("", "empty"),
        (b"", "empty"),
        (b"123456", "over the byte limit"),
        (7.5, "neither a path nor bytes"),
        ("a.png", "neither a path nor bytes"),
        ("large.bin", "over the byte limit"),
        ("nothing.bin", "empty file"),
        ("absent.bin", "file not found"),
        ("large.bin/inside", "file not found"),
        ("nul\0.bin", "file not found"),
        ("folder", "is a directory"),
        ("pipe", "not a file"),
        ("n" * 300, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_missing_for_a_reason(tmp_path: Path, cell: object, expected: str) -> None:
    (tmp_path / "large.bin").write_bytes(b"123456")
    (tmp_path / "nothing.bin").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    if isinstance(cell, str) and cell not in ("", "a.png"):
        cell = tmp_path / cell
    assert read_bytes(cell, Limits(bytes=5)) == Missing(expected)


def test_a_file_that_may_not_be_read_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "secret").write_bytes(b"1")
    monkeypatch.setattr(Path, "read_bytes", refuse)  # tests may run as root, who may read everything
    assert read_bytes(tmp_path / "secret", LIMITS) == Missing("no permission")


def test_exists(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert exists(tmp_path / "a")
    assert not any(exists(path) for path in (tmp_path, tmp_path / "b", tmp_path / "a\0", tmp_path / ("n" * 300)))


# Colours


def test_colour_grey_palette_and_bilevel_become_rgb() -> None:
    pixels = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [7, 8, 9]]], np.uint8)
    image = PIL.Image.fromarray(pixels)
    for picture in (image, image.quantize(4)):
        result, notes = decoded(encoded(picture, "PNG"))
        assert result.dtype == np.uint8
        assert np.array_equal(result, pixels)
        assert notes == ()
    grey, _ = decoded(encoded(PIL.Image.fromarray(np.array([[0, 100]], np.uint8)), "PNG"))
    assert grey.tolist() == [[[0, 0, 0], [100, 100, 100]]]
    bilevel, _ = decoded(encoded(PIL.Image.fromarray(np.array([[False, True]])), "PNG"))
    assert bilevel.tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_cmyk_is_converted() -> None:
    ink = PIL.Image.merge("CMYK", [PIL.Image.new("L", (8, 8), value) for value in (255, 0, 0, 0)])
    pixels, _ = decoded(encoded(ink, "TIFF"))
    assert pixels[0, 0].tolist() == [0, 255, 255]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (np.array([[1000, 2000, 3000]], np.uint16), "PNG", [0, 128, 255]),
        (np.array([[65535, 0, 13107]], np.uint16), "PNG", [255, 0, 51]),
        (np.array([[500, 500, 500]], np.uint16), "PNG", [0, 0, 0]),
        (np.array([[-100_000, 0, 100_000]], np.int32), "TIFF", [0, 128, 255]),
        (np.array([[0.0, 0.2, 1.0]], np.float32), "TIFF", [0, 51, 255]),
        (np.array([[np.nan, 0.2, 1.2]], np.float32), "TIFF", [0, 0, 255]),
        (np.array([[-np.inf, 1e38, 3e38]], np.float32), "TIFF", [0, 0, 255]),
        (np.array([[np.nan, np.nan, np.inf]], np.float32), "TIFF", [0, 0, 0]),
    ],
)
def test_deep_grey_is_scaled_from_its_own_range(values: np.ndarray, kind: str, expected: list[int]) -> None:
    pixels, notes = decoded(encoded(PIL.Image.fromarray(values), kind))
    assert pixels[0, :, 0].tolist() == pixels[0, :, 2].tolist() == expected
    assert notes[0] == "more than 8 bits: scaled from its own range"
    repair = () if np.isfinite(values).all() else ("values that are not finite: NaN made black, infinity cut to the range",)
    assert notes[1:] == repair


def test_transparency_is_laid_on_white() -> None:
    colours = PIL.Image.fromarray(np.array([[[0, 0, 0, 0], [0, 0, 0, 51], [9, 9, 9, 255]]], np.uint8))
    note = ("transparency laid on white",)
    for picture, expected in ((colours, [255, 204, 9]), (colours.convert("LA"), [255, 204, 9])):
        pixels, notes = decoded(encoded(picture, "PNG"))
        assert pixels[0, :, 1].tolist() == expected
        assert notes == note
    palette = PIL.Image.fromarray(np.array([[[10, 10, 10], [200, 200, 200]]], np.uint8)).quantize(2)
    clear = palette.getpixel((0, 0))
    pixels, notes = decoded(encoded(palette, "PNG", transparency=clear))
    assert pixels[0, :, 0].tolist() == [255, 200]
    assert notes == note


def test_lab_is_named_as_not_supported() -> None:
    assert reason(encoded(PIL.Image.new("LAB", (3, 3)), "TIFF")) == "LAB colours are not supported"


# Frames, orientation, size


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first_is_read(kind: str) -> None:
    first, second = (PIL.Image.new("RGB", (6, 4), colour) for colour in ("black", "white"))
    pixels, notes = decoded(encoded(first, kind, save_all=True, append_images=[second]))
    assert pixels.max() < 5
    assert notes == ("only the first frame read",)
    assert decoded(encoded(first, kind))[1] == ()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright_by_exif(kind: str, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(PHOTO, kind, exif=exif)
    upright = PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(data)))
    pixels, _ = decoded(data)
    assert pixels.shape == ((60, 45, 3) if orientation > 4 else (45, 60, 3))
    assert np.array_equal(pixels, np.asarray(upright.convert("RGB")))


def test_broken_exif_costs_a_note_and_not_the_picture() -> None:
    pixels, notes = decoded(encoded(PHOTO, "PNG", exif=b"Exif\0\0garbage"))
    assert np.array_equal(pixels, np.asarray(PHOTO))
    assert notes == ("EXIF data could not be read",)


@pytest.mark.parametrize(
    ("size", "expected"), [((1024, 100), (512, 50)), ((513, 513), (512, 512)), ((3000, 1), (512, 1)), ((512, 3), (512, 3))]
)
def test_pictures_are_reduced_to_the_longest_side(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert within(size, 512) == expected
    pixels, notes = decoded(encoded(PIL.Image.new("RGB", size), "PNG"))
    assert pixels.shape == (expected[1], expected[0], 3)
    assert notes == (() if size == expected else ("reduced to 512 pixels",))


def test_reduction_averages_instead_of_picking() -> None:
    board = np.indices((256, 256)).sum(0) % 2 * np.uint8(254)
    pixels, _ = decoded(encoded(PIL.Image.fromarray(board.astype(np.uint8)), "PNG"), longest=32)
    assert np.abs(pixels.astype(int) - 127).max() <= 2


def test_a_large_jpeg_is_decoded_small_and_stays_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = PHOTO.resize((1600, 1200), PIL.Image.Resampling.BICUBIC)
    loaded = []
    load = PIL.Image.Image.convert
    monkeypatch.setattr(PIL.Image.Image, "convert", lambda image, mode: loaded.append(image.size) or load(image, mode))
    pixels, _ = decoded(encoded(photo, "JPEG", quality=95), longest=200)
    assert loaded == [(200, 150)]
    exact = np.asarray(photo.resize((200, 150), PIL.Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(pixels - exact).mean() < 2


# Limits and damage


def test_pixels_are_counted_before_they_are_decoded() -> None:
    assert reason(encoded(PHOTO, "PNG"), Limits(pixels=60 * 45 - 1)) == "over the pixel limit"
    assert decoded(encoded(PHOTO, "PNG"), limits=Limits(pixels=60 * 45))[0].shape == (45, 60, 3)


@pytest.mark.parametrize("side", [10_000, 60_000])  # Pillow warns about the first and raises for the second
def test_decompression_bombs_are_a_reason_and_no_warning(side: int) -> None:
    assert reason(png_header(side, side)) == "over the pixel limit"


def test_a_large_picture_that_the_limits_allow_gives_no_warning_either() -> None:
    assert reason(png_header(10_000, 10_000), Limits(pixels=10**9)) == "truncated"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM"])
def test_half_a_file_is_truncated(kind: str) -> None:
    data = encoded(PHOTO, kind)
    assert decoded(data)[0].shape == (45, 60, 3)
    assert reason(data[: len(data) // 2]) == "truncated"


@pytest.mark.parametrize(
    "data", [b"not a picture", b"\x89PNG\r\n\x1a\n", b"%PDF-1.7", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\0" * 99]
)
def test_other_bytes_are_not_an_image(data: bytes) -> None:
    assert not is_picture(data)
    assert reason(data) == "not an image"


@pytest.mark.parametrize("kind", ["PCX", "TGA", "ICO", "PDF"])
def test_formats_that_are_not_listed_are_not_opened(kind: str) -> None:
    assert reason(encoded(PHOTO, kind)) == "not an image"


def test_damage_in_the_middle() -> None:
    data = bytearray(encoded(PHOTO, "WEBP"))
    data[20:40] = bytes(20)
    assert reason(bytes(data)) == "damaged"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000"])
def test_headers_and_endings_are_known(kind: str) -> None:
    assert is_picture(encoded(PHOTO, kind))
    assert {".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"} <= picture_endings()
    assert not {".pdf", ".eps", ".mpg", ".txt", ""} & picture_endings()


REASONS = {
    "empty",
    "not an image",
    "truncated",
    "damaged",
    "over the pixel limit",
    "no pixels",
    "LAB colours are not supported",
}


def check_any(data: bytes) -> None:
    result = decode_picture(data, Limits(pixels=100_000), 32)
    if isinstance(result, Missing):
        assert result.reason in REASONS
    else:
        assert result[0].dtype == np.uint8
        assert result[0].ndim == 3
        assert 1 <= min(result[0].shape[:2]) <= max(result[0].shape[:2]) <= 32


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_never_raise(data: bytes) -> None:
    check_any(data)


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from([encoded(PHOTO, kind) for kind in ("PNG", "JPEG", "GIF", "WEBP")]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), max_size=5),
    st.floats(0, 1),
)
def test_damaged_files_never_raise(data: bytes, flips: list[tuple[float, int]], end: float) -> None:
    damaged = bytearray(data)
    for place, bit in flips:
        damaged[int(place**3 * len(damaged))] ^= 1 << bit  # cubed: most of what a decoder can trip over is in front
    check_any(bytes(damaged if end > 0.5 else damaged[: int(2 * end * len(damaged))]))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "AVIF"])
def test_every_cut_and_every_lost_byte_of_a_small_file_never_raise(kind: str) -> None:
    if f".{kind.lower()}" not in picture_endings():
        pytest.skip(f"this Pillow was built without {kind}")
    frames = [PHOTO.resize((6, 4)), PHOTO.resize((6, 4)).rotate(90)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    for place in range(min(len(data), 600)):
        check_any(data[:place])
        check_any(data[:place] + b"\xff" + data[place + 1 :])


def test_threads_read_the_same_and_do_not_warn() -> None:
    files = [png_header(10_000, 10_000), encoded(PHOTO, "PNG")] * 40
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda data: decode_picture(data, LIMITS, 512), files))
    assert all(result == Missing("over the pixel limit") for result in results[::2])
    for result in results[1::2]:
        assert not isinstance(result, Missing)
        assert np.array_equal(result[0], np.asarray(PHOTO))


def test_reading_needs_no_torch() -> None:
    script = (
        "import sys; from consilience.media import decode_picture; from consilience.types import Limits; "
        "decode_picture(sys.stdin.buffer.read(), Limits(), 32)[0]; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], input=encoded(PHOTO, "PNG"), check=True)


# Fitting


def test_square_squashes_to_channels_first() -> None:
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 20:] = (10, 20, 30)
    fitted = square(pixels, 16)
    assert tuple(fitted.shape) == (3, 16, 16)
    assert fitted[:, 5, 0].tolist() == [0, 0, 0]
    assert fitted[:, 5, 15].tolist() == [10, 20, 30]


def test_square_keeps_what_fits_and_averages_what_does_not() -> None:
    pixels = np.asarray(PHOTO.resize((32, 32)))  # read-only, as from Pillow
    assert np.array_equal(square(pixels, 32).permute(1, 2, 0).numpy(), pixels)
    noise = np.random.default_rng(0).integers(0, 2, (256, 256, 3), np.uint8) * np.uint8(254)
    assert (square(noise, 16).int() - 127).abs().max() <= 50  # of 8 x 8 pixels at least; single ones would be 0 or 254


@pytest.mark.parametrize("size", [(1, 1), (1, 512), (512, 1), (3, 2)])
def test_square_of_the_smallest_pictures_is_their_colour(size: tuple[int, int]) -> None:
    assert square(np.full((*size, 3), 77, np.uint8), 16).unique().tolist() == [77]


# URLs


@pytest.mark.parametrize(
    ("cell", "url"),
    [
        ("https://a.b/c.png?x=1", True),
        ("s3://bucket/c.png", True),
        ("memory://c.png", True),
        ("a/b.png", False),
        ("C:/b.png", False),
        ("//b.png", False),
        (Path("https://a.b/c.png"), False),
    ],
)
def test_what_is_a_url(cell: str | Path, url: bool) -> None:
    assert is_url(cell) is url


def test_the_ending_of_a_url_is_that_of_its_path() -> None:
    assert ending("https://a.b/c.PNG?v=1.2#top") == ".png"
    assert ending("a/b.tar.GZ") == ".gz"
    assert ending("https://a.b") == ""


def test_urls_are_fetched_where_the_limits_allow_it_and_never_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.bin").write_bytes(b"12345")
    address, allowed = f"file://{tmp_path}/a.bin", Limits(urls=True)
    assert read_bytes(address, allowed) == b"12345"
    assert read_bytes(f"file://{tmp_path}/b.bin", allowed) == Missing("cannot be fetched")
    assert read_bytes(address, Limits(urls=True, bytes=4)) == Missing("over the byte limit")
    assert read_bytes("unheard://of.png", allowed) == Missing("cannot be fetched")
    (tmp_path / "a.bin").write_bytes(b"")
    assert read_bytes(address, allowed) == Missing("empty file")
    monkeypatch.setattr("fsspec.open", None)  # would fail if called
    assert read_bytes(address, Limits()) == Missing("a URL, and limits.urls is false")


def test_a_protocol_that_is_not_installed_says_what_to_install() -> None:
    with pytest.raises(ConsilienceError, match=r"pip install consilience\[url\]"):
        read_bytes("s3://bucket/a.png", Limits(urls=True))


def test_pictures_come_over_http(tmp_path: Path) -> None:
    (tmp_path / "a b.bin").write_bytes(b"12345")
    handler = partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert read_bytes(f"{address}/a%20b.bin", Limits(urls=True)) == b"12345"
        assert read_bytes(f"{address}/gone.bin", Limits(urls=True)) == Missing("cannot be fetched")
        server.shutdown()
    assert read_bytes(f"{address}/a%20b.bin", Limits(urls=True)) == Missing("cannot be fetched")


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


def test_a_palette_that_is_not_there_is_damage() -> None:
    file = io.BytesIO()
    PIL.Image.new("P", (4, 4)).save(file, "PNG")
    data = file.getvalue()
    start = data.index(b"PLTE") - 4
    length = int.from_bytes(data[start : start + 4], "big")
    assert decode_picture(data[:start] + data[start + 12 + length :], Limits(), 64) == Missing("damaged")
