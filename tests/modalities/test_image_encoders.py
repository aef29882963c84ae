"""Image: what the descriptor does by hand-made numbers: one deviation for the gradients, ties, and no pictures at all."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data as photographs
from skimage.feature import hog as reference_hog

from consilience.modalities.image import Picture
from consilience.modalities.image.descriptor import Descriptor, hog
from consilience.types import Input

PHOTOGRAPH = Picture(pixels=photographs.astronaut()[:96, :96])


def descriptor(**options: int) -> Descriptor:
    return Descriptor(config=Descriptor.Config(**options), input=Input("scan", "image", ("scan",)))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_first_of_equally_strong_channels_gives_the_direction() -> None:
    ramp = np.tile(np.arange(32, dtype=np.float32) * 3, (32, 1))
    for channels, direction in (([ramp, ramp.T], 0), ([ramp.T, ramp], 4)):  # along at 0 degrees, down at 90
        pixels = np.stack(channels, 2)
        expected = reference_hog(pixels.astype(float), 9, (16, 16), (2, 2), "L2-Hys", channel_axis=-1)
        found = hog(pixels, 16)
        assert np.abs(found - expected).max() < 1e-6
        assert (found.reshape(4, 9).argmax(1) == direction).all()


def test_gradients_share_the_root_mean_square_of_their_deviations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Descriptor, "_features", lambda _, features: features)
    encoder = descriptor(side=64)  # 36 gradients, then 96 colours, ratio and size
    low, high = np.zeros((2, 134), np.float32)
    high[[0, 1, 36, 37]] = 6, 8, 4, 10  # two values deviate by half their distance: 3 and 4, 2 and 5
    encoder.fit([low, high], rng())
    state = encoder.state().arrays
    assert state["deviation"][:36] == pytest.approx(np.full(36, 5 / 6))  # the root of (3**2 + 4**2) / 36
    assert state["deviation"][36:].tolist() == [2, 5, *[0] * 96]
    assert state["mean"].tolist() == [3, 4, *[0] * 34, 2, 5, *[0] * 96]
    values = encoder(encoder.collate([encoder.prepare(high)])).values[0, 0]
    assert values[[0, 1, 36, 37]].tolist() == pytest.approx([3.6, 4.8, 1, 1])
    assert values.count_nonzero() == 4


def test_gradients_are_zero_where_no_training_picture_had_any() -> None:
    encoder = descriptor()
    encoder.fit([Picture(pixels=np.full((40, 40, 3), level, np.uint8)) for level in (0, 90, 200)], rng())
    values = encoder(encoder.collate([encoder.prepare(PHOTOGRAPH)])).values[0, 0]
    assert not values[:-98].any()
    assert values[-98:-50].all()  # means of colours
    assert not values[-50:].any()  # their deviations, ratio and size


def test_fit_without_pictures_gives_zeros() -> None:
    encoder, other = descriptor(), descriptor()
    encoder.fit([], rng())
    other.restore(encoder.state())
    for fitted in (encoder, other):
        tokens = fitted(fitted.collate([fitted.prepare(PHOTOGRAPH)]))
        assert tokens.mask.all()
        assert tuple(tokens.values.shape) == (1, 1, fitted.width)
        assert not tokens.values.any()
