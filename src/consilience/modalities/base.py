"""The contract of a modality: cell -> sample. No torch is needed to read, and no statistic is kept here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from consilience.types import Cell, Claim, Column, Input, Limits, Missing, Part, Sample

__all__ = ["Corruption", "Modality"]

Corruption = Callable[[Any, float, np.random.Generator], Any]
"""(sample, severity in 0..1, generator) -> damaged sample of the same type. Severity 0 returns the sample unchanged."""


class Modality(ABC):
    """A kind of data. Subclasses are final, take no constructor arguments and keep no state."""

    name: ClassVar[str]
    media: ClassVar[bool] = False
    """True: a cell names a file. Cells arrive as `Path` (made absolute below the media root) or `bytes`, not `str`."""
    grouped: ClassVar[bool] = False
    """True: the columns of this modality form one input together instead of one each."""
    corruptions: ClassVar[Mapping[str, Corruption]] = {}
    """Named damage for robustness tests; none of it is used in training."""

    def names_file(self, cell: str) -> bool:
        """Media only: is this string the name of a file, so that it arrives as a `Path`, or does it arrive as it is?"""
        return True

    @abstractmethod
    def detect(self, column: Column) -> Claim | None:
        """Is this column mine, how sure, and why? None: no."""

    @abstractmethod
    def read(self, input: Input, cells: Mapping[str, Cell], limits: Limits) -> Sample | Missing:
        """The cells of one row, by column -> sample. Never raises for bad data: it returns `Missing(reason)`."""

    def augment(self, sample: Any, rng: np.random.Generator) -> Any:
        """A variation that keeps the meaning, for training. The default returns the sample."""
        return sample

    @property
    def varies(self) -> bool:
        """Does `augment` do anything?"""
        return type(self).augment is not Modality.augment

    @abstractmethod
    def size(self, sample: Any) -> int:
        """How much of it there is (words, pixels, cells), for batches by length."""

    def describe(self, sample: Any) -> str:
        """How much there is of it, in a few words for people ("64 x 48 pixels"). The default says its size."""
        return f"size {self.size(sample)}"

    @abstractmethod
    def parts(self, sample: Any) -> Sequence[Part]:
        """The pieces that can be removed one by one, in order."""

    @abstractmethod
    def keep(self, sample: Any, kept: Collection[int]) -> Any:
        """The sample with only the parts whose index is in `kept`. Keeping all returns an equal sample."""

    @abstractmethod
    def draw(self, sample: Any, weights: Mapping[int, float]) -> str:
        """HTML of the sample; part `i` is tinted by `weights[i]` in -1..1 (against .. for). All text is escaped."""

    @abstractmethod
    def encoders(self) -> Mapping[str, str]:
        """Encoder name -> "module:Class". Must hold `descriptor` and `scratch`."""
