"""What is received is drawn by type and shape: every form once by hand, and the values that break drawings."""

from __future__ import annotations

import base64
import io

import numpy as np
import PIL.Image
import pytest
import torch

from consilience.encoders.base import Received
from consilience.evidence.drawing import FEW, LISTED, SHORT, STACKED, Bar, Bitmap, Line, draw, visible, written

NAN, INF = float("nan"), float("inf")


def pixels(bitmap: Bitmap) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(bitmap.uri.partition(",")[2]))))


@pytest.mark.parametrize(
    ("value", "form", "caption"),
    [
        (torch.zeros(3, 4, 5, dtype=torch.uint8), "picture", "5 x 4 pixels, uint8 [3, 4, 5]"),
        (torch.zeros(1, 4, 5, dtype=torch.uint8), "picture", "5 x 4 pixels, uint8 [1, 4, 5]"),
        (torch.zeros(4, 5, dtype=torch.uint8), "picture", "5 x 4 pixels, uint8 [4, 5]"),
        (torch.zeros(2, 3, 4, 5, dtype=torch.uint8), "stack", "uint8 [2, 3, 4, 5]"),
        (torch.zeros(5, dtype=torch.uint8), "words", "uint8 [5]"),
        (torch.tensor([1.0, 3.0]), "bars", "float32 [2], 1 to 3, mean 2"),
        (torch.tensor([[1.0, 3.0]], dtype=torch.float64), "bars", "float64 [1, 2], 1 to 3, mean 2"),
        (torch.zeros(SHORT + 1), "lines", "float32 [33], 0 to 0, mean 0"),
        (torch.zeros(FEW, SHORT + 1), "lines", "float32 [6, 33], 0 to 0, mean 0"),
        (torch.zeros(SHORT + 1, FEW), "lines", "float32 [33, 6], 0 to 0, mean 0"),
        (torch.zeros(FEW + 1, SHORT + 1), "heat", "float32 [7, 33], 0 to 0, mean 0, row 0 at the top"),
        (torch.zeros(2, 2), "heat", "float32 [2, 2], 0 to 0, mean 0, row 0 at the top"),
        (torch.zeros(2, 2, 2, dtype=torch.bfloat16), "stack", "bfloat16 [2, 2, 2], 0 to 0, mean 0"),
        (torch.ones(2, 3, dtype=torch.bool), "heat", "bool [2, 3], 1 to 1, mean 1, row 0 at the top"),
        (torch.ones(2, dtype=torch.bool), "words", "bool [2]"),
        (torch.ones(2, 3, dtype=torch.int64), "stack", "int64 [2, 3]"),
        (torch.tensor(2.5), "words", "float32 [], 2.5"),
        (torch.tensor(2), "words", "int64 []"),
        (torch.zeros(0), "words", "float32 [0], no values"),
        (torch.zeros(3, 0, 4), "words", "float32 [3, 0, 4], no values"),
        (torch.tensor([NAN, INF, 1.0]), "bars", "float32 [3], 1, 2 not finite"),
        (torch.tensor([NAN]), "bars", "float32 [1], 1 not finite"),
        (["a", "b"], "words", "2 entries"),
        ([], "words", "0 entries"),
        ([("a", 1)], "words", "1 entry"),
        ([("a", 1), ("b", 0.5)], "bars", "2 entries"),
        ([("a", "x")], "table", "1 entry"),
    ],
)
def test_form_and_caption(value: Received, form: str, caption: str) -> None:
    assert (draw(value).form, draw(value).caption) == (form, caption)


def test_pictures_keep_their_pixels() -> None:
    value = torch.arange(60, dtype=torch.uint8).reshape(3, 4, 5)
    (bitmap,) = draw(value).parts
    assert (bitmap.width, bitmap.height) == (5, 4)
    assert np.array_equal(pixels(bitmap), value.permute(1, 2, 0).numpy())
    (grey,) = draw(value[:1]).parts
    assert np.array_equal(pixels(grey), value[0].numpy())


def test_bars_start_at_zero_and_share_a_scale() -> None:
    assert draw(torch.tensor([-1.0, 0.0, 3.0, NAN])).parts == (
        Bar("0", "-1", 0.0, 25.0),
        Bar("1", "0", 25.0, 0.0),
        Bar("2", "3", 25.0, 75.0),
        Bar("3", "NaN", 0.0, None),
    )
    assert draw([("a", 2.0), ("b", 1.0)]).parts == (Bar("a", "2", 0.0, 100.0), Bar("b", "1", 0.0, 50.0))


def test_lines_have_their_ends_their_zero_and_gaps() -> None:
    values = torch.zeros(SHORT + 8)
    values[0], values[1], values[20] = 3.0, -1.0, NAN
    (line,) = draw(values).parts
    assert (line.low, line.high, line.zero, line.width) == ("-1", "3", 75.0, SHORT + 7)
    assert [stroke.split()[0] for stroke in line.points] == ["0,0.0", "21,75.0"]
    assert line.points[0].split()[2] == "1,100.0"
    flat = " ".join(f"{place},0.0 {place},0.0" for place in range(50))
    assert draw(torch.ones(50)).parts == (Line((flat,), 49, "1", "1", None),)


def test_a_long_line_keeps_its_peaks_in_their_order() -> None:
    values = torch.zeros(40_000)
    values[12_345], values[12_346] = 5.0, -5.0
    (line,) = draw(values).parts
    assert line.width == 399
    points = line.points[0].split()
    assert len(points) == 800
    assert [point for point in points if point.endswith((",0.0", ",100.0"))] == ["123,0.0", "123,100.0"]


@pytest.mark.parametrize(("shape", "lines"), [((2, 50), 2), ((50, 3), 3)])
def test_channels_are_lines_whichever_axis_they_are(shape: tuple[int, int], lines: int) -> None:
    found = draw(torch.arange(float(np.prod(shape))).reshape(shape)).parts
    assert len(found) == lines
    assert found[1].low == ("50" if lines == 2 else "1")


def test_heat_maps_go_from_the_least_to_the_greatest() -> None:
    values = torch.arange(-4.0, 60.0).reshape(8, 8)
    values[3, 3] = NAN
    values[0, 1], values[0, 2] = 11.75, (-4 + 11.75) / 2  # a quarter, and an eighth, of the way from -4 to 59
    (bitmap,) = draw(values).parts
    assert (bitmap.low, bitmap.high) == ("-4", "59")
    shown = pixels(bitmap)
    assert shown[0, 0].tolist() == [0x44, 0x01, 0x54] and shown[7, 7].tolist() == [0xFD, 0xE7, 0x25]
    assert shown[0, 1].tolist() == [0x3B, 0x52, 0x8B]
    assert shown[0, 2].tolist() == [0x40, 0x2A, 0x70], "half-way between two anchors: 63.5, 41.5 and 111.5, to even"
    assert shown[3, 3].tolist() == [128, 128, 128], "what is not finite is grey"


def test_the_heat_maps_of_a_stack_share_a_scale() -> None:
    first, second = (part.parts[0] for part in draw(torch.stack([torch.zeros(8, 8), torch.full((8, 8), 2.0)])).parts)
    assert (first.low, first.high) == (second.low, second.high) == ("0", "2")
    assert pixels(first)[0, 0].tolist() == [0x44, 0x01, 0x54] and pixels(second)[0, 0].tolist() == [0xFD, 0xE7, 0x25]


def test_a_large_heat_map_is_reduced_but_says_its_size() -> None:
    (bitmap,) = draw(torch.rand(30, 3000, generator=torch.Generator().manual_seed(0))).parts
    assert (bitmap.width, bitmap.height) == (3000, 30)
    assert pixels(bitmap).shape == (30, 1024, 3)


@pytest.mark.parametrize("value", [NAN, INF, -INF, 0.0, 3.4e38, -1e-45])
@pytest.mark.parametrize("shape", [(), (3,), (50,), (10, 10), (3, 50), (2, 2, 2)])
def test_no_value_breaks_a_drawing(value: float, shape: tuple[int, ...]) -> None:
    draw(torch.full(shape, value))
    mixed = torch.full(shape, value, dtype=torch.float64)
    mixed.view(-1)[0] = -1.7e308
    mixed.view(-1)[-1] = 1.7e308
    draw(mixed)


def test_what_is_left_out_is_counted() -> None:
    assert draw(torch.zeros(STACKED + 5, 2, 2)).more == 5
    assert draw([("a", 0.5)] * (LISTED + 2)).more == 2
    assert draw(["a"] * (LISTED + 2)).more == 2
    long = draw(torch.arange(LISTED + 7))
    assert (len(long.parts), long.more) == (LISTED, 7)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain text", "plain text"),
        (" th", "\N{OPEN BOX}th"),
        ("  ", "\N{OPEN BOX}\N{OPEN BOX}"),
        ("", ""),
        ("a\nb\tc", "a\nb\tc"),
        ("a\x00\x1b\x7f", "a\N{SYMBOL FOR NULL}\N{SYMBOL FOR ESCAPE}\N{SYMBOL FOR DELETE}"),
        ("\ud800", "?"),
    ],
)
def test_everything_in_a_text_can_be_seen(text: str, seen: str) -> None:
    assert visible(text) == seen


@pytest.mark.parametrize(("value", "text"), [(0.25, "0.25"), (-1.23456e-5, "-1.235e-05"), (NAN, "NaN"), (INF, "inf")])
def test_numbers_in_four_figures(value: float, text: str) -> None:
    assert written(value) == text
