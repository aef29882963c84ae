"""The words of the library as types. No torch at import time: `Tokens` and `Fused` only name tensors.

Dimension letters, in names and comments everywhere: B rows of a batch, N tokens, D width, C classes, T time steps,
H W height and width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Cell = Any
"""What stands in the table at one row and column. A media cell arrives as a `Path` (below the media root) or `bytes`."""

Role = Literal["input", "target", "id", "group", "time", "split", "weight", "excluded"]
ROLES: tuple[Role, ...] = ("input", "target", "id", "group", "time", "split", "weight", "excluded")


@dataclass(frozen=True)
class Missing:
    """A cell that could not be used, and why. `reason` is short and countable: "empty", "file not found"."""

    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """A cell once read. Each modality has its own subclass, in its own file.

    `notes` says what was cut or repaired on reading ("text cut at 100000 characters"); they are counted and shown.
    """

    notes: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """About how much memory the sample holds, for the bound of the store."""
        return 256


ITEMS = 8
"""The most items that are read of a cell that holds a list.

Prediction is made in fixed shapes, so that every row pays for the longest list that there may be: in tokens of the fusion,
whose attention grows with their square. Eight are more than most listings show at first, and the rest is noted.
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Several(Sample):
    """The items of a list that could be read, one at least and at most `ITEMS`, in their order; of any one modality."""

    items: tuple[Sample, ...]

    @property
    def nbytes(self) -> int:
        return super().nbytes + sum(item.nbytes for item in self.items)


@dataclass(frozen=True)
class Claim:
    """A modality says that a column is its own. `confidence` in 0..1; the highest claim wins.

    `kind` lets a modality tell its columns apart (tabular: "number", "category", "date"). `many`: it claims the items of
    the lists that the cells hold, not the cells.
    """

    confidence: float
    reason: str
    kind: str = ""
    many: bool = False


@dataclass(frozen=True)
class Limits:
    """Bounds on what is read from one cell. What is over them becomes `Missing`, or is cut and noted.

    root      no file is opened that lies outside of this folder, a real path, wherever links lead; None: any file may be
    outside   the recipe allows files outside of the media root, so that a view sets no root
    isolate   seconds that reading a cell of media may take in a process of its own; None: it is read in this one
    """

    pixels: int = 50_000_000
    bytes: int = 100_000_000
    characters: int = 100_000
    seconds: float = 600.0
    values: int = 10_000_000
    urls: bool = False
    outside: bool = False
    isolate: float | None = None
    root: Path | None = None

    def below(self, root: Path) -> Limits:
        """These, for files below a media root."""
        return self if self.outside else replace(self, root=root.resolve())


@dataclass(frozen=True)
class Column:
    """What a modality sees of a column when it decides whether to claim it: a sample, not the whole.

    `cells` are up to 200 cells that are not empty, drawn evenly over the table; `rows` the length of the table,
    `empty` how many of its cells are empty, `distinct` the number of different cells among all rows; files are read below
    `root` and within `limits`.
    """

    name: str
    cells: Sequence[Cell]
    rows: int
    empty: int
    distinct: int
    root: Path = Path()
    limits: Limits = Limits()


@dataclass(frozen=True)
class Input:
    """One thing that the model receives: a column, or a group of tabular columns. `kinds` are parallel to `columns`.

    `many`: a cell of its column holds a list of items of the modality (the photos of a listing).
    """

    name: str
    modality: str
    columns: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    many: bool = False


@dataclass(frozen=True)
class ColumnRole:
    """What a column is used for and why."""

    column: str
    role: Role
    reason: str
    input: str = ""


@dataclass(frozen=True)
class Schema:
    """The inputs, the target and the roles of a table, with a reason for each choice. It holds no statistics."""

    target: str | None
    inputs: tuple[Input, ...]
    columns: tuple[ColumnRole, ...]

    def role(self, role: Role) -> str | None:
        """The column that has `role`, or None. `input` and `excluded` may be held by many; ask `columns` for those."""
        return next((column.column for column in self.columns if column.role == role), None)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(item.name for item in self.inputs)

    def __getitem__(self, name: str) -> Input:
        return next(item for item in self.inputs if item.name == name)


@dataclass(frozen=True)
class Part:
    """A piece of a sample that can be removed to see what it was worth: a word, a patch, a column.

    `index` identifies the part for `Modality.keep`; `label` is shown to people.
    """

    index: int
    label: str


@dataclass(frozen=True, eq=False)
class Tokens:
    """What an encoder returns for B rows.

    values  [B, N, D] float
    mask    [B, N] bool, False for padding and for every token of an absent input
    seconds [B, N] float, the time of each token on the row's clock, or None
    """

    values: Tensor
    mask: Tensor
    seconds: Tensor | None = None

    def __post_init__(self) -> None:
        assert self.values.ndim == 3, f"values must be [B, N, D], not {tuple(self.values.shape)}"
        assert self.mask.shape == self.values.shape[:2], f"mask {tuple(self.mask.shape)} is not [B, N] of the values"
        assert self.seconds is None or self.seconds.shape == self.mask.shape, "seconds must be [B, N]"


@dataclass(frozen=True, eq=False)
class Fused:
    """What a fusion returns.

    vector  [B, D]
    tokens  [B, N, D] or None, the fused tokens
    weights per input [B], how much of the vector came from it, summing to 1 over the inputs of a row, or None
    """

    vector: Tensor
    tokens: Tensor | None = None
    weights: Mapping[str, Tensor] | None = None


@dataclass(frozen=True, eq=False)
class State:
    """Everything that a component learned, as JSON and named arrays: what a run stores, and what a loader may trust."""

    json: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
