"""The one way to samples, tokens, pooled tokens, presence and target.

A view never drops, moves or fills a row: whoever asks for rows gets as many answers, in the order asked for, and what
could not be read is `Missing` with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch

from consilience.data import isolated, recalled
from consilience.data.encoding import encode
from consilience.data.schema import modality_of
from consilience.data.several import below
from consilience.data.shelf import Shelf, content
from consilience.data.store import Store
from consilience.data.table import Cells, Table
from consilience.data.threads import in_threads
from consilience.data.tokens import Kept
from consilience.data.told import Told
from consilience.encoders.base import Encoder
from consilience.errors import fail, nearest
from consilience.media import is_url
from consilience.nn import masked_deviation, masked_mean
from consilience.progress import Progress, Silent, encoding
from consilience.types import Cell, Input, Limits, Missing, Sample, Schema, Tokens

Present = Mapping[str, np.ndarray]
"""Input name -> [R] bool, parallel to the rows asked for."""


@dataclass(frozen=True)
class Damage:
    """What is done to the samples of one input after they were read: a corruption of its modality, by name."""

    input: str
    corruption: str
    severity: float
    seed: int


class View:
    """A table seen through a schema."""

    def __init__(
        self,
        table: Table,
        schema: Schema,
        store: Store,
        limits: Limits,
        weight: str | None = None,
        damage: Damage | None = None,
        device: str = "cpu",
        progress: Progress | None = None,
    ) -> None:
        self.table = table
        self.schema = schema
        self.store = store
        self.limits = limits
        self.weight_column = weight
        self.damage = damage
        self.device = device  # where heavy encoders run
        self.progress = progress or Silent()
        self.identity = object()
        """Stands for this view in the store's keys. Not `id(self)`: that of a view that is gone may be given again."""
        # Per input and row: not read yet, present, or why it is missing. Small, so it outlives the store.
        self._reasons = {name: Told(len(table)) for name in schema.names}
        # A frozen encoder does not change after `fit` or `restore`; hashing its weights anew for every chunk would cost more
        # than encoding.
        self._fingerprints: WeakKeyDictionary[Encoder, str] = WeakKeyDictionary()
        self._notes = {name: Told(len(table)) for name in schema.names}
        self._contents = {name: np.zeros(len(table) if store.keeps else 0, "V16") for name in schema.names}
        self._groups: np.ndarray | None = None
        self._kept: dict[tuple[str, str], Kept] = {}  # by the encoder's fingerprint and the input

    def __len__(self) -> int:
        return len(self.table)

    def cells(self, column: str, rows: np.ndarray | None = None) -> Cells:
        """The cells of a column, fetched batch by batch as they are asked for."""
        return Cells(self.table.data.column(column), rows)

    def target(self, rows: np.ndarray) -> Cells:
        """The target cells of `rows`."""
        assert self.schema.target is not None, "the schema has no target"
        return self.cells(self.schema.target, rows)

    def weight(self, rows: np.ndarray) -> np.ndarray:
        """[R] float64, the weight of each row; ones where the recipe names no weight column."""
        if self.weight_column is None:
            return np.ones(len(rows))
        values = np.fromiter(map(_number, self.cells(self.weight_column, rows)), np.float64, len(rows))
        wrong = ~(np.isfinite(values) & (values >= 0))
        if wrong.any():
            raise fail(
                f"the weight column {self.weight_column!r} has {wrong.sum()} cells that are no weight",
                "a finite number >= 0 in every row",
                "mend the column, or leave the weight away",
            )
        return values

    def groups(self, rows: np.ndarray) -> np.ndarray | None:
        """[R] int, the group of each row, or None where the schema has no group column. An empty cell is its own group."""
        column = self.schema.role("group")
        if column is None or column not in self.table.names:
            return None
        if self._groups is None:
            self._groups = self.table.codes(column)
        return np.unique(self._groups[rows], return_inverse=True)[1]

    def samples(self, name: str, rows: np.ndarray) -> list[Sample | Missing]:
        """Each row's sample, or why there is none. Raises ConsilienceError where a file is gone that was there before."""
        found: dict[int, Sample | Missing] = {}
        unread = []
        told, noted, kind = self._reasons[name], self._notes[name], modality_of(self.schema[name])
        for row in dict.fromkeys(rows.tolist()):
            if reason := told[row]:
                found[row] = Missing(reason)
            elif kind.media and (sample := self.store.get((self.identity, name, row))) is not None:
                found[row] = sample
            else:
                unread.append(row)
        first = {row for row in unread if told[row] is None}
        read = self._read(self.schema[name], np.array(unread, np.int64))
        pairs = zip(unread, read, strict=True)
        lost = {row: sample.reason for row, sample in pairs if isinstance(sample, Missing) and told[row] == ""}
        if lost:
            row, reason = next(iter(lost.items()))
            raise fail(
                f"{len(lost)} cells of {name!r} were read before and cannot be read now, the first in row {row}: {reason}",
                "files that stay as they are while they are needed",
                "bring them back; a training goes on with --resume",
            )
        found.update(zip(unread, read, strict=True))
        told.tell(unread, [sample.reason if isinstance(sample, Missing) else "" for sample in read])
        noted.tell(unread, [None if isinstance(sample, Missing) else sample.notes or None for sample in read])
        self._remember(name, [(row, sample) for row, sample in zip(unread, read, strict=True) if row in first])
        for row, sample in zip(unread, read, strict=True):
            if kind.media and not isinstance(sample, Missing):  # to read the others again costs less than to keep them
                self.store.put((self.identity, name, row), sample, sample.nbytes)
        return [found[row] for row in rows.tolist()]

    def present(self, rows: np.ndarray, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Per input [R] bool: the cell was there and readable. Reads what was not read yet."""
        found = {}
        for name in names or self.schema.names:
            self._known(name, rows)
            found[name] = self._reasons[name].are("", rows)
        return found

    def reasons(self, name: str, rows: np.ndarray) -> list[str]:
        """Why each row's input is missing; "" where it is present."""
        self._known(name, rows)
        return [self._reasons[name][row] or "" for row in rows.tolist()]

    def notes(self, name: str, row: int) -> tuple[str, ...]:
        """What was cut or repaired when the sample was read."""
        return self._notes[name][row] or ()

    def told(self, rows: np.ndarray) -> np.ndarray:
        """[R, 2 x inputs] int: equal numbers for rows of which the same reasons and the same notes are told."""
        for name in self.schema.names:
            self._known(name, rows)
        return np.stack([told[name].codes[rows] for name in self.schema.names for told in (self._reasons, self._notes)], axis=1)

    def counts(self, rows: np.ndarray) -> dict[str, Counter[str]]:
        """Per input, how many rows are missing for each reason, and how many samples bear each note."""
        counted = {}
        for name in self.schema.names:
            self._known(name, rows)
            counted[name] = self._reasons[name].count(rows)
            del counted[name][""]
            for notes, count in self._notes[name].count(rows).items():
                counted[name].update(dict.fromkeys(notes, count))
        return counted

    def _known(self, name: str, rows: np.ndarray) -> None:
        """Read what was not read yet."""
        unread = rows[self._reasons[name].are(None, rows)]
        for start in range(0, len(unread), 1024):
            if len(rest := self._recalled(name, unread[start : start + 1024])):
                self.samples(name, rest)

    def tokens(self, encoder: Encoder, name: str, rows: np.ndarray, which: np.ndarray | None = None) -> Tokens:
        """Tokens of an encoder for `rows`, from the store where they are; [R, N, D] on the CPU.

        N is the most tokens among the rows. A missing row's mask is False throughout, its values are zero. Of an encoder
        that learns they are kept until it has learned more. `which` [R] asks for variations of samples instead: 0 is the
        sample, any other number its variation of that number, always the same.
        """
        if which is None or not modality_of(self.schema[name]).varies:
            return self.encoded(encoder, name, rows).get(rows)
        numbers = np.unique(which).tolist()
        parts = [self.encoded(encoder, name, rows[which == number], number).get(rows[which == number]) for number in numbers]
        return _mixed(parts, [np.flatnonzero(which == number) for number in numbers])

    def encoded(self, encoder: Encoder, name: str, rows: np.ndarray, variation: int = 0) -> Kept:
        """Where the tokens of `rows`, or of a variation of them, are kept, encoded where they were not yet."""
        assert encoder.frozen or encoder.heavy, f"the encoder of {name} learns: its tokens cannot be stored"
        key = self._fingerprint(encoder, name) + (f"+{variation}" if variation else "")
        kept = self._kept.get((key, name)) or self._kept.setdefault((key, name), Kept(len(self), encoder.width))
        self._known(name, rows)
        here = np.unique(rows[self._reasons[name].are("", rows)])
        todo = here[kept.start[here] < 0]
        with encoding(self.progress if encoder.heavy else Silent(), f"encoding {name}", len(todo)) as advance:
            for start in range(0, len(todo), encoder.span):
                part = todo[start : start + encoder.span]
                kept.put(part, self._found(encoder, name, part, key, variation))
                advance(len(part), "")
        return kept

    def _fingerprint(self, encoder: Encoder, name: str) -> str:
        """Of an encoder as it is now; tokens that it returned when it was another are let go."""
        known = self._fingerprints.get(encoder)
        if known is not None and encoder.frozen:
            return known
        found = self._fingerprints[encoder] = encoder.fingerprint()
        if known is not None and known != found:
            self._kept.pop((known, name), None)
        return found

    def pooled(self, encoder: Encoder, name: str, rows: np.ndarray) -> np.ndarray:
        """[R, P] float64 for tree and linear models; NaN where the input is missing.

        P is D for an encoder of one token, else 2 D: masked mean and deviation of the tokens.
        """
        tokens = self.tokens(encoder, name, rows)
        values = tokens.values.to(torch.float64)
        if encoder.length == 1:
            pooled = values[:, 0]
        else:
            pooled = torch.cat([masked_mean(values, tokens.mask), masked_deviation(values, tokens.mask)], dim=1)
        return pooled.masked_fill(~tokens.mask.any(1, keepdim=True), float("nan")).numpy()

    def _found(self, encoder: Encoder, name: str, rows: np.ndarray, fingerprint: str, variation: int) -> list[torch.Tensor]:
        """[N, D] for each of some present rows: from disk where they are there, else encoded, each content once."""
        # A record of columns is encoded faster than it is found, and what learns returns other tokens tomorrow.
        passing = modality_of(self.schema[name]).grouped or not encoder.frozen
        shelf = None if passing else self.store.shelf(fingerprint)
        if shelf is None:
            return self._encode(encoder, name, rows, variation)
        keys = self._contents_of(name, rows)
        found = {key: _tokens(data, encoder) for key in dict.fromkeys(keys) if (data := shelf.get(key)) is not None}
        first = {key: place for place, key in reversed(list(enumerate(keys)))}
        absent = sorted(place for key, place in first.items() if key not in found)
        if absent:
            made, new = self._encode(encoder, name, rows[absent], variation), [keys[place] for place in absent]
            found.update(zip(new, made, strict=True))
            if made[0].dtype == encoder.dtype:
                shelf.put(new, [tokens.numpy().tobytes() for tokens in made])
        return [found[key] for key in keys]

    def _contents_of(self, name: str, rows: np.ndarray) -> list[bytes]:
        """What the sample of each present row is known by; read where it was not recalled."""
        known = self._contents[name]
        unread = rows[[not any(known[row].tobytes()) for row in rows.tolist()]]
        for row, sample in zip(unread.tolist(), self.samples(name, unread) if len(unread) else [], strict=True):
            known[row] = np.void(content(sample))
        return [known[row].tobytes() for row in rows.tolist()]

    def _recalled(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Tell what other processes read in the same cells before; the rows of which nothing is remembered."""
        item, shelf = self.schema[name], self._cell_shelf(name)
        if shelf is None:
            return rows
        keys = self._cell_keys(item, rows)
        found = [None if key is None or (data := shelf.get(key)) is None else recalled.outcome(data) for key in keys]
        for row, one in zip(rows.tolist(), found, strict=True):
            if one is not None and not one.reason:
                self._contents[name][row] = np.void(one.content)
        some = [(row, one) for row, one in zip(rows.tolist(), found, strict=True) if one is not None]
        self._reasons[name].tell([row for row, _ in some], [one.reason for _, one in some])
        self._notes[name].tell([row for row, _ in some], [one.notes or None for _, one in some])
        return rows[[one is None for one in found]]

    def _remember(self, name: str, read: Sequence[tuple[int, Sample | Missing]]) -> None:
        """Keep what came of the cells of some rows, for other processes."""
        shelf = self._cell_shelf(name)
        if shelf is None or not read:
            return
        keys = self._cell_keys(self.schema[name], np.array([row for row, _ in read], np.int64))
        pairs = [(key, recalled.remembered(sample)) for key, (_, sample) in zip(keys, read, strict=True)]
        kept = [(key, data) for key, data in pairs if key is not None and data is not None]
        shelf.put([key for key, _ in kept], [data for _, data in kept])

    def _cell_shelf(self, name: str) -> Shelf | None:
        """Where what came of cells is kept: of media, which are costly to decode, as they are."""
        item = self.schema[name]
        damaged = self.damage is not None and self.damage.input == name
        return self.store.shelf(f"cells-{item.modality}") if modality_of(item).media and not damaged else None

    def _cell_keys(self, item: Input, rows: np.ndarray) -> list[bytes | None]:
        limits_at = {root: self.limits.below(root) for _, root in self.table.roots}
        (column,) = item.columns

        def key(place: int) -> bytes | None:
            root = self.table.root(int(rows[place]))
            return recalled.key(item, {column: located(item, cells[place], root)}, limits_at[root])

        cells = list(self.cells(column, rows))
        return in_threads(key, len(rows))

    def _encode(self, encoder: Encoder, name: str, rows: np.ndarray, variation: int) -> list[torch.Tensor]:
        """[N, D] for each of some present rows."""
        samples, kind = self.samples(name, rows), modality_of(self.schema[name])
        if variation:
            # Drawn from what is varied, so that it is the same wherever it stands.
            samples = [kind.augment(sample, np.random.default_rng([variation, *content(sample)])) for sample in samples]
        assert not any(isinstance(sample, Missing) for sample in samples)
        items = [encoder.prepare(sample) for sample in samples if not isinstance(sample, Missing)]
        self.store.encoded += len(items)
        return encode(encoder, items, self.device if encoder.heavy else "cpu")

    def damaged(self, input: str, corruption: str, severity: float, seed: int) -> View:
        """The same table, limits and store, with the samples of one input damaged: the same way whenever they are read.

        severity 0..1. What is missing stays missing. Raises ConsilienceError where the input's modality has no such damage.
        """
        known = modality_of(self.schema[input]).corruptions
        if corruption not in known:
            raise fail(f"{input!r} has no corruption {corruption!r}", "one of its modality", nearest(corruption, known))
        damage = Damage(input, corruption, severity, seed)
        return View(self.table, self.schema, self.store, self.limits, self.weight_column, damage, self.device, self.progress)

    def _read(self, item: Input, rows: np.ndarray) -> list[Sample | Missing]:
        """The samples of rows, as they are or damaged."""
        kind, damage = modality_of(item), self.damage
        columns = [self.cells(column, rows) for column in item.columns]
        cells = [dict(zip(item.columns, row, strict=True)) for row in zip(*columns, strict=True)]
        corrupt = kind.corruptions[damage.corruption] if damage is not None and damage.input == item.name else None

        limits_at = {root: self.limits.below(root) for _, root in self.table.roots}

        def read(place: int) -> Sample | Missing:
            found, limits = cells[place], self.limits
            if kind.media:
                root = self.table.root(int(rows[place]))
                found = {column: located(item, cell, root) for column, cell in found.items()}
                limits = limits_at[root]
            own = limits.isolate is not None and kind.media and any(map(isolated.holds_file, found.values()))
            sample = isolated.read(item, found, limits) if own else kind.read(item, found, limits)
            if corrupt is None or damage is None or isinstance(sample, Missing):
                return sample
            return corrupt(sample, damage.severity, np.random.default_rng([damage.seed, int(rows[place])]))

        return in_threads(read, len(rows)) if kind.media else list(map(read, range(len(rows))))


def _mixed(parts: Sequence[Tokens], places: Sequence[np.ndarray]) -> Tokens:
    """Rows of several, each at its place."""
    rows, most = sum(map(len, places)), max(part.values.shape[1] for part in parts)
    first = parts[0].values
    values, mask = first.new_zeros(rows, most, first.shape[2]), torch.zeros(rows, most, dtype=torch.bool)
    for part, place in zip(parts, places, strict=True):
        values[place, : part.values.shape[1]], mask[place, : part.values.shape[1]] = part.values, part.mask
    return Tokens(values, mask)


def _tokens(data: bytes, encoder: Encoder) -> torch.Tensor:
    """[N, D], as it was kept."""
    return torch.frombuffer(bytearray(data), dtype=encoder.dtype).reshape(-1, encoder.width)


def located(item: Input, cell: Cell, root: Path) -> Cell:
    """A cell of media with the folder before the names of files in it."""
    if item.many:
        return below(cell, root)
    names_file = isinstance(cell, str) and cell.strip() and not is_url(cell) and modality_of(item).names_file(cell)
    return root / Path(cell) if names_file else cell


def _number(cell: Cell) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return float("nan")
