"""Image: claims, reading, variation, damage, parts, drawing, and the two encoders of its own."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from skimage import data as photographs
from skimage.feature import hog as reference_hog
from sklearn.datasets import load_digits
from torch import nn

from consilience import component
from consilience.encoders.base import Encoder
from consilience.errors import ConsilienceError
from consilience.modalities.image import LONGEST, Image, Picture
from consilience.modalities.image import descriptor as module
from consilience.modalities.image.descriptor import Descriptor, colours, hog
from consilience.modalities.image.scratch import Scratch
from consilience.types import Claim, Column, Input, Limits, Missing, State

INPUT = Input("scan", "image", ("scan",))
IMAGE = Image()
ASTRONAUT = photographs.astronaut()
KINDS = sorted(IMAGE.corruptions)
DIGITS = load_digits()


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def picture(pixels: np.ndarray) -> Picture:
    return Picture(pixels=pixels.astype(np.uint8))


def crops(count: int, side: int = 96, seed: int = 0) -> list[Picture]:
    places = rng(seed).integers(0, 512 - side, (count, 2))
    return [picture(ASTRONAUT[row : row + side, column : column + side]) for row, column in places]


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def descriptor(**options: int) -> Descriptor:
    return Descriptor(config=Descriptor.Config(**options), input=INPUT)


def fitted(samples: Sequence[Picture], **options: int) -> Descriptor:
    encoder = descriptor(**options)
    encoder.fit(samples, rng())
    return encoder


def scratch(**options: float) -> Scratch:
    torch.manual_seed(0)
    return Scratch(config=Scratch.Config(**options), input=INPUT)  # type: ignore[arg-type]


def tokens(encoder: Encoder, samples: Sequence[Picture]) -> torch.Tensor:
    return encoder(encoder.collate([encoder.prepare(sample) for sample in samples])).values


def test_the_registry_finds_it() -> None:
    assert component.find("modalities", "image") is Image
    assert [component.load(IMAGE.encoders()[name]) for name in ("descriptor", "scratch")] == [Descriptor, Scratch]
    assert descriptor().modality == scratch().modality == IMAGE.name == "image"
    assert (descriptor().frozen, scratch().frozen, IMAGE.media) == (True, False, True)
    assert KINDS == ["blur", "fade", "jpeg", "noise", "occlusion"]


def claim(cells: Sequence[object], root: Path = Path()) -> Claim | None:
    return IMAGE.detect(Column("scan", cells, rows=len(cells), empty=0, distinct=len(set(cells)), root=root))


def test_columns_of_picture_names_and_bytes_are_claimed(tmp_path: Path) -> None:
    for name in ("0.png", "1.png", "2.JPG"):
        (tmp_path / name).touch()
    cells = ["0.png", "1.png", tmp_path / "2.JPG", "absent.png", "notes.txt"]
    assert claim(cells, tmp_path) == Claim(0.95, "80% of 5 sampled cells end in .png, .jpg and 3 of 4 exist")
    assert claim([*cells, "more.txt"], tmp_path) is None
    (tmp_path / "my photo.png").touch()  # white space is fine where the file exists: a sentence may end in a name
    assert claim(["my photo.png"], tmp_path) == Claim(0.95, "100% of 1 sampled cells end in .png and 1 of 1 exist")
    assert claim(["please look at my photo.png"], tmp_path) is None
    data = png(ASTRONAUT[:8, :8])
    assert claim([data, data[:60]]) == Claim(0.95, "100% of 2 sampled cells are bytes that start like a picture")


@pytest.mark.parametrize(
    "cells",
    [
        [],
        ["logo.png is broken", "where is a.jpg?", "the .png format", "a.png, b.png and more"],
        ["a.wav", "png"],
        [1, 2.5, None],
        ["\0.png " * 3, "n" * 300 + " .png"],
        [png(ASTRONAUT[:8, :8]), b"RIFF0000WAVE", b"text"],
    ],
)
def test_other_columns_are_not_claimed(cells: list[object]) -> None:
    assert claim(cells) is None


def read(cell: object, **limits: int) -> Picture | Missing:
    return IMAGE.read(INPUT, {"scan": cell, "other": b""}, Limits(**limits))


def test_reading_files_and_bytes_with_notes_and_reasons(tmp_path: Path) -> None:
    pixels = ASTRONAUT[:20, :30]
    (tmp_path / "a.png").write_bytes(png(pixels))
    for cell in (tmp_path / "a.png", png(pixels)):
        sample = read(cell)
        assert isinstance(sample, Picture)
        assert np.array_equal(sample.pixels, pixels)
        assert (sample.notes, sample.nbytes) == ((), 256 + 20 * 30 * 3)
    large = read(png(np.zeros((LONGEST + 1, 4, 3), np.uint8)))
    assert isinstance(large, Picture)
    assert large.notes == ("reduced to 512 pixels",)
    cells = (None, tmp_path / "absent.png", tmp_path, b"text", png(ASTRONAUT[:9, :9])[:-40])
    reasons = ["empty", "file not found", "is a directory", "not an image", "truncated"]
    assert [read(cell) for cell in cells] == [Missing(reason) for reason in reasons]
    assert read(png(ASTRONAUT), pixels=100) == Missing("over the pixel limit")
    assert read(png(ASTRONAUT), bytes=100) == Missing("over the byte limit")


@pytest.mark.parametrize("shape", [(96, 96), (300, 400), (1, 1), (3, 50)])
def test_augmentation_varies_little_and_repeats(shape: tuple[int, int]) -> None:
    sample = Picture(pixels=np.resize(ASTRONAUT, (*shape, 3)), notes=("kept",))
    varied = IMAGE.augment(sample, rng(1))
    assert (varied.pixels.shape, varied.pixels.dtype, varied.notes) == ((*shape, 3), np.uint8, ("kept",))
    assert np.array_equal(varied.pixels, IMAGE.augment(sample, rng(1)).pixels)
    assert not np.array_equal(varied.pixels, IMAGE.augment(sample, rng(2)).pixels)


def test_augmentation_moves_and_turns_within_bounds_and_never_mirrors() -> None:
    pixels = np.zeros((101, 101, 3), np.uint8)
    pixels[20:30, 30:40] = 255  # one mark, up and to the left of the middle
    away, turned = [], []
    for seed in range(200):
        lit = IMAGE.augment(picture(pixels), rng(seed)).pixels[..., 0].astype(float)
        weights = lit - lit.min()
        row, column = (float((weights * place).sum() / weights.sum()) for place in np.indices(weights.shape))
        away.append(np.hypot(row - 24.5, column - 34.5))
        turned.append(weights.sum())
    # The mark is 30.5 pixels from the middle: 6 of shift each way, 5.3 of turning, 3.1 of scaling.
    assert 5 < max(away) <= np.hypot(6.1, 6.1) + 5.4 + 3.1
    assert max(turned) > 1.2 * min(turned)


def test_augmentation_changes_brightness_and_contrast() -> None:
    grey = picture(np.full((20, 20, 3), 100))
    light = [int(IMAGE.augment(grey, rng(seed)).pixels[10, 10, 0]) for seed in range(50)]
    assert 75 <= min(light) < 80 < 120 < max(light) <= 125
    halves = np.full((20, 20, 3), 50)
    halves[:, 10:] = 150
    contrast = [int(np.ptp(IMAGE.augment(picture(halves), rng(seed)).pixels[10, 6:14, 0])) for seed in range(50)]
    assert 83 <= min(contrast) < 90 < 115 < max(contrast) <= 120


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pixels", [ASTRONAUT[:200, :160], DIGITS.images[3][..., None].repeat(3, 2) * 15])
def test_damage_grows_with_severity(kind: str, pixels: np.ndarray) -> None:
    sample, damage = picture(pixels), IMAGE.corruptions[kind]
    assert damage(sample, 0.0, rng()) is sample
    results = [damage(sample, severity, rng()) for severity in (0.0, 0.25, 0.5, 0.75, 1.0)]
    losses = [float(np.square(result.pixels - pixels.astype(np.uint8).astype(float)).mean()) for result in results]
    assert losses == sorted(set(losses)), losses
    assert losses[-1] > 100
    assert {(result.pixels.shape, result.pixels.dtype) for result in results} == {(pixels.shape, np.dtype(np.uint8))}
    assert damage(picture(np.full((1, 1, 3), 9)), 0.7, rng()).pixels.shape == (1, 1, 3)


def test_occlusion_covers_three_quarters_of_each_side_and_a_severer_one_contains_a_milder_one() -> None:
    sample = picture(np.indices((40, 80)).sum(0)[..., None] % 2 * [[[200, 100, 50]]])
    covered = [(IMAGE.corruptions["occlusion"](sample, s, rng(4)).pixels == [100, 50, 25]).all(2) for s in (0.2, 0.6, 1.0)]
    assert [int(mask.sum()) for mask in covered] == [6 * 12, 18 * 36, 30 * 60]
    elsewhere = (IMAGE.corruptions["occlusion"](sample, 0.2, rng(5)).pixels == [100, 50, 25]).all(2)
    assert not np.array_equal(covered[0], elsewhere)
    assert not (covered[0] & ~covered[1] | covered[1] & ~covered[2]).any()


def test_parts_are_a_grid_of_patches() -> None:
    sample = picture(ASTRONAUT[:30, :50])
    parts = IMAGE.parts(sample)
    assert [part.index for part in parts] == list(range(16))
    assert [parts[index].label for index in (0, 1, 15)] == ["row 1, column 1", "row 1, column 2", "row 4, column 4"]
    assert (IMAGE.size(sample), len(IMAGE.parts(picture(np.zeros((1, 3, 3)))))) == (1500, 3)


def test_keep_paints_the_rest_in_the_mean_colour() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, 4:] = (200, 100, 50)
    sample = Picture(pixels=pixels, notes=("kept",))
    kept = IMAGE.keep(sample, [0, 3])
    expected = np.tile(np.array([100, 50, 25], np.uint8), (8, 8, 1))
    expected[:2, :2] = 0
    expected[:2, 6:] = (200, 100, 50)
    assert (kept.pixels.tolist(), kept.notes) == (expected.tolist(), ("kept",))
    assert np.array_equal(IMAGE.keep(sample, range(16)).pixels, pixels)
    assert (IMAGE.keep(sample, []).pixels == [100, 50, 25]).all()


@pytest.mark.parametrize("shape", [(8, 8), (30, 50), (400, 512), (1, 3), (7, 5)])
def test_every_pixel_is_in_exactly_one_part(shape: tuple[int, int]) -> None:
    sample = picture(rng().integers(0, 256, (*shape, 3)))
    count = len(IMAGE.parts(sample))
    gone = [(IMAGE.keep(sample, set(range(count)) - {index}).pixels != sample.pixels).any(2) for index in range(count)]
    assert max(np.sum(gone, 0).ravel()) == 1
    assert np.sum(gone) > 0.9 * np.prod(shape) or np.prod(shape) < 10  # a pixel may have the mean colour by chance


def test_drawing_is_one_figure_with_tints_and_words() -> None:
    sample = picture(ASTRONAUT[:40, :80])
    figure = ElementTree.fromstring(IMAGE.draw(sample, {0: 0.5, 1: -1.0, 2: 7.0}))
    image, overlay = figure
    assert figure.tag == "figure"
    words = "picture of 80 x 40 pixels; most for: row 1, column 3 (+7.00); most against: row 1, column 2 (-1.00)"
    assert [image.get(name) for name in ("alt", "width", "height")] == [words, "256", "128"]
    data = base64.b64decode(str(image.get("src")).removeprefix("data:image/png;base64,"), validate=True)
    shown = PIL.Image.open(io.BytesIO(data))
    assert np.array_equal(np.asarray(shown), sample.pixels)
    tints = [(rect.get("fill"), rect.get("fill-opacity")) for rect in overlay]
    assert tints[:4] == [("blue", "0.300"), ("red", "0.600"), ("blue", "0.600"), ("blue", "0.000")]
    assert [overlay[5].get(name) for name in ("x", "y", "width", "height")] == ["20", "10", "20", "10"]
    assert overlay[1][0].text == "row 1, column 2: -1.00"
    assert ElementTree.fromstring(IMAGE.draw(sample, {}))[0].get("alt") == "picture of 80 x 40 pixels"
    assert len(IMAGE.draw(picture(rng().integers(0, 256, (512, 512, 3))), {0: 1.0})) < 300_000


@pytest.mark.parametrize(("side", "cell"), [(128, 32), (64, 8), (64, 5), (48, 6)])
def test_hog_is_that_of_scikit_image(side: int, cell: int) -> None:
    for seed in range(3):
        pixels = crops(1, side, seed)[0].pixels
        for values in (pixels, pixels[..., :1]):
            expected = reference_hog(values.astype(float), 9, (cell, cell), (2, 2), "L2-Hys", channel_axis=-1)
            assert np.abs(hog(values.astype(np.float32), cell) - expected).max() < 1e-6


def test_hog_of_an_edge_by_hand() -> None:
    pixels = np.zeros((32, 32, 1), np.float32)
    pixels[:, 16:] = 255  # falling and rising edges vote alike: directions are unsigned
    for values in (pixels, 255 - pixels):
        blocks = hog(values, 16).reshape(2, 2, 9)
        assert blocks[:, :, 0] == pytest.approx(0.5, abs=1e-6)  # four equal cells, cut at 0.2, then of length one
        assert not blocks[:, :, 1:].any()
    assert not hog(np.full((32, 32, 3), 9.0, np.float32), 8).any()


def test_colours_by_hand() -> None:
    pixels = np.zeros((16, 16, 3), np.float32)
    pixels[:4, :4, 1] = 7
    pixels[4:8, 4:6, 2] = 10
    values = colours(pixels).reshape(2, 4, 4, 3)
    expected = np.zeros_like(values)
    expected[0, 0, 0, 1] = 7
    expected[0, 1, 1, 2] = expected[1, 1, 1, 2] = 5
    assert np.array_equal(values, expected)


@pytest.mark.parametrize(("options", "width"), [({}, 9 * 36 + 98), ({"side": 64}, 36 + 98), ({"cell": 16}, 49 * 36 + 98)])
def test_width_follows_the_options(options: dict[str, int], width: int) -> None:
    encoder = descriptor(**options)
    values = encoder.prepare(picture(ASTRONAUT[:50, :100]))["values"]
    assert (encoder.width, values.dtype, tuple(values.shape)) == (width, torch.float32, (width,))
    assert values[-2:].tolist() == pytest.approx([np.log(2), np.log(5000)])  # aspect ratio and size


def test_features_are_standardised_on_the_training_pictures() -> None:
    samples = crops(20)
    encoder = fitted(samples)
    batch = encoder.collate([encoder.prepare(sample) for sample in samples])
    result = encoder(batch)
    assert (result.mask.tolist(), encoder.length) == ([[True]] * 20, 1)
    raw = batch["values"].double().numpy()
    deviation = raw.std(0)
    deviation[-2:] = np.inf  # all crops have one size
    deviation[:-98] = np.sqrt(np.square(deviation[:-98]).mean())  # gradients share one
    assert np.abs(result.values[:, 0].numpy() - (raw - raw.mean(0)) / deviation).max() < 1e-4


def test_what_was_constant_in_training_stays_zero_and_the_rest_is_finite_and_clipped() -> None:
    encoder = fitted(crops(7, side=97))
    assert tokens(encoder, [picture(np.zeros((10, 400, 3)))])[0, 0, -2:].tolist() == [0, 0]
    for shape in ((1, 1), (1, 512), (512, 2), (512, 512)):
        assert torch.isfinite(tokens(encoder, [picture(np.resize(ASTRONAUT, (*shape, 3)))])).all()
    encoder.deviation.fill_(1e-3)
    assert tokens(encoder, crops(1)).abs().max() == 10
    assert not tokens(fitted([]), crops(1)).any()


def test_a_picture_has_the_same_descriptor_alone_and_in_a_batch() -> None:
    samples = crops(9)
    encoder = fitted(samples)
    alone = torch.cat([tokens(encoder, [sample]) for sample in samples])
    assert torch.equal(tokens(encoder, samples), alone)


def test_fit_takes_a_draw_of_many_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FITTED_ON", 6)
    samples = crops(30)
    chosen = [samples[index] for index in np.sort(rng(0).permutation(30)[:6])]
    other = descriptor()
    other.fit(samples, rng(1))
    assert fitted(samples).fingerprint() == fitted(chosen).fingerprint() != other.fingerprint()


def test_state_returns_after_restore() -> None:
    encoder, other = fitted(crops(5)), descriptor()
    arrays = encoder.state().arrays
    assert {name: array.dtype for name, array in arrays.items()} == {"mean": np.float32, "deviation": np.float32}
    other.restore(encoder.state())
    assert torch.equal(tokens(encoder, crops(3, seed=8)), tokens(other, crops(3, seed=8)))
    assert encoder.fingerprint() == other.fingerprint()
    assert not encoder.state_dict()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("mean", None, r"mean is nothing\n  expected: float32 \[422\]"),
        ("mean", np.zeros(5, np.float32), r"mean is float32 \[5\]"),
        ("deviation", np.zeros(422), r"deviation is float64 \[422\]"),
        ("mean", np.full(422, np.nan, np.float32), "mean holds impossible values"),
        ("deviation", np.full(422, -1, np.float32), "deviation holds impossible values"),
    ],
)
def test_a_state_that_is_not_valid_is_refused(name: str, array: np.ndarray | None, message: str) -> None:
    encoder = fitted(crops(2))
    before = encoder.fingerprint()
    arrays = {**encoder.state().arrays, name: array}
    with pytest.raises(ConsilienceError, match=message):
        encoder.restore(State(arrays={key: value for key, value in arrays.items() if value is not None}))
    assert encoder.fingerprint() == before


@pytest.mark.parametrize("options", [{}, {"side": 16}, {"side": 256, "width": 32, "depth": 1, "heads": 8}])
def test_scratch_gives_64_tokens(options: dict[str, float]) -> None:
    encoder = scratch(**options)
    item = encoder.prepare(crops(1)[0])
    assert item["pixels"].dtype == torch.uint8
    result = encoder(encoder.collate([item, item]))
    assert tuple(result.values.shape) == (2, encoder.length, encoder.width) == (2, 64, options.get("width", 128))
    assert result.mask.all()


def test_options_are_bounded() -> None:
    of_descriptor = [{"side": 24}, {"side": 136}, {"side": 512}, {"cell": 2}, {"cell": 65}, {"pad": 1}]
    of_scratch = [{"side": 48}, {"width": 48}, {"depth": 0}, {"heads": 3}, {"dropout": 1.0}]
    for encoder, refused in ((descriptor, of_descriptor), (scratch, of_scratch)):
        for options in refused:
            with pytest.raises(ValidationError):
                encoder(**options)


def test_scratch_does_not_look_at_the_other_rows() -> None:
    encoder, samples = scratch(side=32).eval(), crops(6)
    together = tokens(encoder, samples)[0]
    assert torch.equal(together, tokens(encoder, [samples[0], *samples[:0:-1]])[0])
    assert torch.allclose(together, tokens(encoder, samples[:1])[0], atol=1e-5)


def test_scratch_overfits_digits() -> None:
    samples = [picture(image[..., None].repeat(3, 2) * 15) for image in DIGITS.images[:32]]
    labels = torch.from_numpy(DIGITS.target[:32])
    encoder = scratch(side=32, width=64, depth=1, dropout=0.0)
    head = nn.Linear(encoder.width, 10)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=3e-3)
    for _ in range(50):
        loss = F.cross_entropy(head(tokens(encoder, samples).mean(1)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in parameters)
    assert (head(tokens(encoder.eval(), samples).mean(1)).argmax(1) == labels).all()


def test_fingerprints_change_with_state_configuration_and_parameters() -> None:
    one = fitted(crops(5))
    elsewhere = Descriptor(config=Descriptor.Config(), input=Input("other", "image", ("other",)))
    elsewhere.restore(one.state())
    trained = scratch()
    with torch.no_grad():
        next(trained.parameters()).mul_(1.5)
    others = [fitted(crops(5, seed=1)), fitted(crops(5), cell=16), elsewhere, scratch(), trained, scratch(dropout=0.2)]
    assert len({encoder.fingerprint() for encoder in (one, *others)}) == 7
    assert one.fingerprint() == fitted(crops(5)).fingerprint()
    assert scratch().fingerprint() == scratch().fingerprint()
