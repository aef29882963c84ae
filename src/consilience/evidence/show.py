"""What did each encoder really receive of one row? The page that answers it.

Everything is asked of the parts that train: the schema, the view's samples, each modality's `draw`, each encoder's
`received` and its tokens. No modality and no encoder is named here, so what is added later is shown without a change.

Encoders have their default options and are fitted on at most `FITTED_ON` rows of the table itself, drawn evenly: there is no
run yet, and so no training part. The page says so. It is one file without scripts, and the same for the same table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from consilience import component
from consilience.data.schema import infer_schema, modality_of
from consilience.data.several import below
from consilience.data.store import Store
from consilience.data.table import is_empty, read_table
from consilience.data.view import View
from consilience.encoders.base import Encoder
from consilience.errors import fail, nearest
from consilience.evidence.drawing import Drawing, draw, visible
from consilience.predictors.base import PRETRAINED, Predictor, has_pretrained, make_encoder
from consilience.recipe import make_recipe
from consilience.train.features import fit_encoders
from consilience.train.threads import one_thread
from consilience.types import Cell, Input, Missing, Sample, Schema

FITTED_ON = 1000
"""Rows that the encoders are fitted on, at most."""

_CELL = 400  # characters of a cell that are shown


@dataclass(frozen=True)
class Shown:
    """One encoder on the page: what it is, what it takes in, and what comes out."""

    name: str
    about: str
    frozen: bool
    complete: bool
    received: Mapping[str, Drawing]
    tokens: tuple[int, int]
    values: Drawing | None


@dataclass(frozen=True)
class Section:
    """One input on the page. `sample` is the modality's own drawing; `reason` says why there is none."""

    item: Input
    cells: Sequence[tuple[str, str, str]]
    reason: str
    looked_up: Sequence[str]
    notes: Sequence[str]
    sample: Markup
    encoders: Sequence[Shown]


def show(
    source: Any,
    row: int,
    target: str | None = None,
    *,
    encoder: str | None = None,
    settings: Sequence[Mapping[str, Any]] = (),
    media_root: Path | str | None = None,
) -> str:
    """The page about one row, as HTML.

    source      a CSV or Parquet file, or an Arrow table
    row         counted from 0, as in the column `row` of predictions
    target      a column that is no input; without one, every column may be
    encoder     only the encoders of this name; default: all that there are
    settings    sparse recipe trees, such as {"exclude": ["id"]}
    media_root  the folder that media paths are relative to; default: the folder of the file

    Raises ConsilienceError for a row or an encoder that does not exist, and for what `read_table` and `infer_schema` refuse.
    """
    recipe = make_recipe(target, settings=settings)
    table = read_table(source, media_root)
    if not 0 <= row < len(table):
        raise fail(f"row {row} of {table.source}", f"0 to {len(table) - 1}", "count from 0, without the line of names")
    schema = infer_schema(table, recipe)
    if encoder is not None:
        _check(encoder, schema)
    view = View(table, schema, Store(), recipe.limit)
    rows = np.unique(np.linspace(0, len(table) - 1, FITTED_ON).round().astype(np.int64))
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        sections = [_section(view, item, row, rows, encoder, recipe.seed) for item in schema.inputs]
    others = [(note, _written(view.cells(note.column)[row])) for note in schema.columns if note.role != "input"]
    page = Environment(
        loader=PackageLoader("consilience.evidence", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("show.html.jinja")
    source = Path(table.source).name
    return page.render(row=row, table=table, source=source, sections=sections, others=others, fitted=len(rows)).strip() + "\n"


def _check(encoder: str, schema: Schema) -> None:
    """Raise ConsilienceError where no input's modality has the encoder."""
    known = {name for item in schema.inputs for name in _encoders(item)}
    if encoder not in known:
        found = ", ".join(sorted({item.modality for item in schema.inputs}))
        raise fail(f"no input has an encoder {encoder!r}", f"an encoder of {found}", nearest(encoder, known))


def _encoders(item: Input) -> dict[str, type[Encoder]]:
    """The encoders that an input may have, by name. Those that leave gaps are for trees, which take no lists."""
    found = {name: component.load(path) for name, path in modality_of(item).encoders().items()}
    return {name: cls for name, cls in found.items() if issubclass(cls, Encoder) and (cls.complete or not item.many)}


def _here(item: Input, name: str) -> bool:
    """Is there such an encoder without naming a model?"""
    return name != PRETRAINED or has_pretrained(item)


def _section(view: View, item: Input, row: int, rows: np.ndarray, wanted: str | None, seed: int) -> Section:
    """One input of the page; its encoders are fitted only where there is a sample for them."""
    kind = modality_of(item)
    (sample,) = view.samples(item.name, np.array([row]))
    raw = {column: view.cells(column)[row] for column in item.columns}
    kinds = item.kinds or ("",) * len(item.columns)
    cells = [(column, kind, _written(cell)) for (column, cell), kind in zip(raw.items(), kinds, strict=True)]
    if isinstance(sample, Missing):
        places = _places(raw.values(), view.table.root(row), item.many) if kind.media else []
        return Section(item, cells, sample.reason, places, (), Markup(), ())
    shown = [name for name in _encoders(item) if wanted == name or (wanted is None and _here(item, name))]
    encoders = [_shown(view, item, name, sample, row, rows, seed) for name in shown]
    return Section(item, cells, "", (), sample.notes, Markup(kind.draw(sample, {})), encoders)


def _places(cells: Iterable[Cell], root: Path, many: bool) -> list[str]:
    """The files that media cells name."""
    named = [item for cell in cells for item in (below(cell, root) if many else [cell])]
    return [visible(str(root / item)) for item in named if isinstance(item, str | Path) and str(item).strip()]


def _shown(view: View, item: Input, name: str, sample: Sample, row: int, rows: np.ndarray, seed: int) -> Shown:
    """One encoder: made with its default options, fitted, and asked about the sample."""
    cls = _encoders(item)[name]
    encoder: Encoder = (
        make_encoder(Predictor.Config.model_validate({"encoder": name}), item)
        if cls.complete
        else cls(config=cls.Config(), input=item)
    )
    fit_encoders({item.name: encoder}, view, rows, seed)
    received = {visible(key): draw(value) for key, value in encoder.received(sample).items()}
    tokens = _tokens(view, encoder, item, sample, row)
    about = (cls.__doc__ or "").strip().partition("\n")[0]
    values = draw(tokens) if encoder.frozen else None  # those of untrained weights say nothing
    return Shown(name, about, encoder.frozen, encoder.complete, received, (tokens.shape[0], tokens.shape[1]), values)


def _tokens(view: View, encoder: Encoder, item: Input, sample: Sample, row: int) -> torch.Tensor:
    """The tokens of the row, [N, D] without padding."""
    if encoder.frozen:
        found = view.tokens(encoder, item.name, np.array([row]))
    else:
        with torch.no_grad():
            found = encoder(encoder.collate([encoder.prepare(sample)], encoder.length))
    return found.values[0][found.mask[0]]


def _written(cell: Cell) -> str:
    """A cell as it stands in the table, shortened; "" where nothing stands in it."""
    if is_empty(cell) and not isinstance(cell, str):
        return ""
    if isinstance(cell, bytes):
        return f"{len(cell)} bytes: {cell[:32].hex(' ')}{' ...' if len(cell) > 32 else ''}"
    text = str(cell)
    shown = visible(text[:_CELL])
    return shown if len(text) <= _CELL else f"{shown} ... ({len(text)} characters)"
