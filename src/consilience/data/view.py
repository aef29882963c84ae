"""The one way to samples, tokens, pooled tokens, presence and target.

A view never drops, moves or fills a row: whoever asks for rows gets as many answers, in the order asked for, and what
could not be read is `Missing` with its reason.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch

from consilience.data.schema import modality_of
from consilience.data.several import below
from consilience.data.store import Store
from consilience.data.table import Table, is_empty
from consilience.encoders.base import Encoder
from consilience.errors import fail, nearest
from consilience.nn import masked_deviation, masked_mean
from consilience.types import Cell, Input, Limits, Missing, Sample, Schema, Tokens

CHUNK = 96
"""Rows that are encoded, or predicted, together. Always as many: a row's bits must not depend on its neighbours.

A multiple of 6, 16 and 32, the rows that matrix products and the elements that loops take at a time: the rows left over
go another way, and differ in the last bit (measured on MKL for AVX2: 64 rows of 4 tokens, the last two of every 176).
"""

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
    ) -> None:
        self.table = table
        self.schema = schema
        self.store = store
        self.limits = limits
        self.weight_column = weight
        self.damage = damage
        self.identity = object()
        """Stands for this view in the store's keys. Not `id(self)`: that of a view that is gone may be given again."""
        self._cells: dict[str, list[Cell]] = {}
        # Per input and row: None not read yet, "" present, else why it is missing. Small, so it outlives the store.
        self._reasons: dict[str, list[str | None]] = {name: [None] * len(table) for name in schema.names}
        # A frozen encoder does not change after `fit` or `restore`; hashing its weights anew for every chunk would cost more
        # than encoding.
        self._fingerprints: WeakKeyDictionary[Encoder, str] = WeakKeyDictionary()
        self._notes: dict[str, dict[int, tuple[str, ...]]] = {name: {} for name in schema.names}

    def __len__(self) -> int:
        return len(self.table)

    def cells(self, column: str) -> list[Cell]:
        """All cells of a column."""
        if column not in self._cells:
            self._cells[column] = self.table.cells(column)
        return self._cells[column]

    def target(self, rows: np.ndarray) -> list[Cell]:
        """The target cells of `rows`."""
        assert self.schema.target is not None, "the schema has no target"
        cells = self.cells(self.schema.target)
        return [cells[row] for row in rows]

    def weight(self, rows: np.ndarray) -> np.ndarray:
        """[R] float64, the weight of each row; ones where the recipe names no weight column."""
        if self.weight_column is None:
            return np.ones(len(rows))
        cells = self.cells(self.weight_column)
        values = np.array([_number(cells[row]) for row in rows])
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
        cells = self.cells(column)
        names = [f"\0row {row}" if is_empty(cells[row]) else str(cells[row]).strip() for row in rows]
        return np.unique(names, return_inverse=True)[1]

    def samples(self, name: str, rows: np.ndarray) -> list[Sample | Missing]:
        """Each row's sample, or why there is none."""
        found: dict[int, Sample | Missing] = {}
        unread = []
        for row in dict.fromkeys(rows.tolist()):
            if reason := self._reasons[name][row]:
                found[row] = Missing(reason)
            elif (sample := self.store.get((self.identity, name, row))) is not None:
                found[row] = sample
            else:
                unread.append(row)
        item = self.schema[name]
        kind = modality_of(item)
        if kind.media and len(unread) > 1:  # decoders release the interpreter lock
            with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
                read = list(pool.map(lambda row: self._read(item, row), unread))
        else:
            read = [self._read(item, row) for row in unread]
        for row, sample in zip(unread, read, strict=True):
            found[row] = sample
            if isinstance(sample, Missing):
                self._reasons[name][row] = sample.reason
            else:
                self._reasons[name][row] = ""
                self.store.put((self.identity, name, row), sample, sample.nbytes)
                if sample.notes:
                    self._notes[name][row] = sample.notes
        return [found[row] for row in rows.tolist()]

    def present(self, rows: np.ndarray, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Per input [R] bool: the cell was there and readable. Reads what was not read yet."""
        return {
            name: np.array([reason == "" for reason in self.reasons(name, rows)], dtype=bool)
            for name in names or self.schema.names
        }

    def reasons(self, name: str, rows: np.ndarray) -> list[str]:
        """Why each row's input is missing; "" where it is present."""
        unread = rows[np.array([self._reasons[name][row] is None for row in rows], dtype=bool)]
        for start in range(0, len(unread), 1024):
            self.samples(name, unread[start : start + 1024])
        known = [self._reasons[name][row] for row in rows]
        return [reason for reason in known if reason is not None]

    def notes(self, name: str, row: int) -> tuple[str, ...]:
        """What was cut or repaired when the sample was read."""
        return self._notes[name].get(row, ())

    def counts(self, rows: np.ndarray) -> dict[str, Counter[str]]:
        """Per input, how many rows are missing for each reason, and how many samples bear each note."""
        counted = {name: Counter(reason for reason in self.reasons(name, rows) if reason) for name in self.schema.names}
        for name, counter in counted.items():
            wanted = set(rows.tolist())
            counter.update(note for row, notes in self._notes[name].items() if row in wanted for note in notes)
        return counted

    def tokens(self, encoder: Encoder, name: str, rows: np.ndarray) -> Tokens:
        """Tokens of a frozen encoder for `rows`, from the store where they are; [R, N, D] on the CPU.

        N is the most tokens among the rows. A missing row's mask is False throughout, its values are zero.
        """
        assert encoder.frozen, f"the encoder of {name} is not frozen: its tokens cannot be stored"
        key = self._fingerprints.get(encoder) or self._fingerprints.setdefault(encoder, encoder.fingerprint())
        kept: dict[int, torch.Tensor] = {}
        todo = []
        for row, reason in zip(rows.tolist(), self.reasons(name, rows), strict=True):
            if reason or row in kept:
                continue
            values = self.store.get((key, self.identity, name, row))
            if values is None:
                todo.append(row)
            else:
                kept[row] = values
        todo = list(dict.fromkeys(todo))
        for start in range(0, len(todo), CHUNK):
            part = todo[start : start + CHUNK]
            for row, values in zip(part, self._encode(encoder, name, np.array(part)), strict=True):
                kept[row] = values
                self.store.put((key, self.identity, name, row), values, values.numel() * values.element_size() + 64)
        count = max((values.shape[0] for values in kept.values()), default=1)
        dtype = next((values.dtype for values in kept.values()), torch.float32)
        out = torch.zeros(len(rows), count, encoder.width, dtype=dtype)
        mask = torch.zeros(len(rows), count, dtype=torch.bool)
        for place, row in enumerate(rows.tolist()):
            if row in kept:
                out[place, : len(kept[row])] = kept[row]
                mask[place, : len(kept[row])] = True
        return Tokens(out, mask)

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

    def _encode(self, encoder: Encoder, name: str, rows: np.ndarray) -> list[torch.Tensor]:
        """[N, D] for each of at most CHUNK present rows, in a batch of fixed shape."""
        samples = self.samples(name, rows)
        assert not any(isinstance(sample, Missing) for sample in samples)
        items = [encoder.prepare(sample) for sample in samples if not isinstance(sample, Missing)]
        self.store.encoded += len(items)
        padded = items + [items[-1]] * (CHUNK - len(items))
        with torch.no_grad():
            tokens = encoder(encoder.collate(padded, encoder.length))
        return [tokens.values[place][tokens.mask[place]].clone() for place in range(len(items))]

    def damaged(self, input: str, corruption: str, severity: float, seed: int) -> View:
        """The same table, limits and store, with the samples of one input damaged: the same way whenever they are read.

        severity 0..1. What is missing stays missing. Raises ConsilienceError where the input's modality has no such damage.
        """
        known = modality_of(self.schema[input]).corruptions
        if corruption not in known:
            raise fail(f"{input!r} has no corruption {corruption!r}", "one of its modality", nearest(corruption, known))
        damage = Damage(input, corruption, severity, seed)
        return View(self.table, self.schema, self.store, self.limits, self.weight_column, damage)

    def _read(self, item: Input, row: int) -> Sample | Missing:
        sample, damage = self._sample(item, row), self.damage
        if damage is None or damage.input != item.name or isinstance(sample, Missing):
            return sample
        corrupt = modality_of(item).corruptions[damage.corruption]
        return corrupt(sample, damage.severity, np.random.default_rng([damage.seed, row]))

    def _sample(self, item: Input, row: int) -> Sample | Missing:
        kind = modality_of(item)
        cells: dict[str, Cell] = {}
        for column in item.columns:
            cell = self.cells(column)[row]
            if kind.media and item.many:
                cell = below(cell, self.table.root(row))
            elif kind.media and isinstance(cell, str) and cell.strip() and kind.names_file(cell):
                cell = self.table.root(row) / Path(cell)
            cells[column] = cell
        return kind.read(item, cells, self.limits)


def _number(cell: Cell) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return float("nan")
