"""The command line: thin. Each command parses, calls the Python that does the work, and prints.

Heavy modules are imported inside the commands, so that `--help` costs nothing. Bad input ends with exit code 2 and the
error's own words, never with a traceback.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consilience.errors import ConsilienceError, fail, nearest

if TYPE_CHECKING:
    from rich.console import Console

    from consilience.metrics import Estimate

app = typer.Typer(
    help="Train one model on tables of text, images and columns, and see what each adds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

TABLE_HELP = "A CSV, TSV, JSON, JSON lines, Parquet, Arrow or Feather file."
TABLE = Annotated[Path, typer.Argument(metavar="TABLE", help=TABLE_HELP)]
RUN = Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `consilience train` left behind.")]
ROOT = Annotated[Path | None, typer.Option(help="Folder that media paths are relative to; default: the table's.")]
RECIPE = Annotated[Path | None, typer.Option(help="A YAML recipe, laid over the preset.")]
PRESET = Annotated[str, typer.Option(help="fast, balanced or best.")]
SET = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One recipe key; repeatable.")]
SPLIT = Annotated[str | None, typer.Option(help="Column that holds train, valid and test.")]
TEST = Annotated[Path | None, typer.Option(help="A separate table whose rows are the test part.")]
GROUP = Annotated[str | None, typer.Option(help="Rows with one value of this column stay on one side.")]
EXCLUDE = Annotated[list[str] | None, typer.Option(help="Columns to leave out, separated by commas.")]
OVERWRITE = Annotated[bool, typer.Option("--overwrite", help="Replace the output where it exists.")]
LISTS = ("modalities", "encoders", "fusions", "tasks", "predictors", "findings", "recipe")


@app.command()
def inspect(
    table: TABLE,
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    recipe: RECIPE = None,
    preset: PRESET = "balanced",
    set_: SET = None,
    split: SPLIT = None,
    test: TEST = None,
    group: GROUP = None,
    exclude: EXCLUDE = None,
    media_root: ROOT = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write a .html file too, which opens without a network.")] = None,
    overwrite: OVERWRITE = False,
    strict: Annotated[bool, typer.Option("--strict", help="End with exit code 2 where anything is found.")] = False,
) -> None:
    """Show what each column is used for and why, what is missing or corrupt, and what looks wrong with the table."""
    from dataclasses import asdict

    from rich.console import Console

    from consilience import pipeline
    from consilience.evidence.inspection_shown import page, write
    from consilience.files import replacing
    from consilience.progress import Bars

    if out is not None:
        _check_file(out, (".html",), overwrite)
    settings = _settings(set_, exclude=exclude, split=split, group=group)
    found = pipeline.inspect(
        table, target, recipe=recipe, preset=preset, settings=settings, test=test, media_root=media_root, progress=Bars()
    )
    if as_json:
        print(json.dumps(asdict(found), indent=1, allow_nan=False))
    else:
        write(found, _console())
    if out is not None:
        with replacing(out, overwrite) as part:
            part.write_text(page(found), encoding="utf-8")
        Console(stderr=True).print(f"page: {out}", markup=False, highlight=False, soft_wrap=True)
    if strict and found.faults:
        raise ConsilienceError(*found.faults)


@app.command()
def show(
    table: TABLE,
    row: Annotated[int, typer.Option(help="Which row; the first one is 0, as in the column `row` of predictions.")],
    out: Annotated[Path, typer.Option(help="A .html file, which opens without a network.")],
    encoder: Annotated[str | None, typer.Option(help="Only the encoders of this name; default: all.")] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    exclude: EXCLUDE = None,
    media_root: ROOT = None,
    overwrite: OVERWRITE = False,
) -> None:
    """Show what each encoder really receives of one row: resized, cut, tokenised, scaled."""
    from consilience.evidence.show import show as page
    from consilience.files import replacing

    _check_file(out, (".html",), overwrite)
    made = page(table, row, target, encoder=encoder, settings=[{"exclude": _columns(exclude)}], media_root=media_root)
    with replacing(out, overwrite) as part:
        part.write_text(made, encoding="utf-8")
    print(f"row {row}: {out}")


@app.command()
def train(
    table: Annotated[Path | None, typer.Argument(metavar="TABLE", help=TABLE_HELP)] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict; the recipe may name it instead.")] = None,
    recipe: RECIPE = None,
    preset: PRESET = "balanced",
    set_: SET = None,
    metric: Annotated[str | None, typer.Option(help="What selection and early stopping optimise.")] = None,
    split: SPLIT = None,
    test: TEST = None,
    group: GROUP = None,
    exclude: EXCLUDE = None,
    media_root: ROOT = None,
    out: Annotated[Path, typer.Option(help="Where the run goes.")] = Path("run"),
    overwrite: OVERWRITE = False,
    seed: Annotated[int | None, typer.Option(help="Fixes every random choice.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Train only where the audit finds nothing.")] = False,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with the training of this run; alone.")] = None,
) -> None:
    """Train on a table; with a test part, score it once at the end."""
    from consilience.unfinished import begun, resumed, trained

    started = time.monotonic()
    if resume is not None:
        others = (table, target, recipe, set_, metric, split, test, group, exclude, media_root, seed)
        if any(other is not None for other in others) or strict or overwrite:
            raise fail("--resume has other options or a table beside it", "--resume RUN alone", "it knows them from its start")
        out, request = resume, resumed(resume)
    elif table is None:
        raise fail("no table is named", "consilience train TABLE, or --resume RUN", "name one")
    else:
        settings = _settings(set_, exclude=exclude, split=split, group=group, metric=metric, seed=seed)
        request = begun(out, overwrite, table, target, recipe, preset, settings, test, media_root, strict)
    run = trained(out, request, overwrite or resume is not None)
    ranked = [(name, f"{value:.4f}") for name, value in run.selection.valid.items()]
    _print_table(("predictor", f"valid {run.selection.metric}"), ranked)
    print(f"chosen: {run.selection.reasons[0]}")
    for part in ("test", "valid"):
        if part in run.metrics:
            _print_metrics(part, run.metrics[part])
            break
    print(f"run: {out} ({time.monotonic() - started:.0f} s){', interrupted' if run.interrupted else ''}")
    if run.interrupted:
        raise typer.Exit(130)


@app.command()
def evaluate(
    run: RUN,
    table: TABLE,
    media_root: ROOT = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a run on a table that has the target."""
    from dataclasses import asdict

    from consilience.run import load

    found = load(run).evaluate(table, media_root)
    if as_json:
        print(json.dumps({name: {k: _finite(v) for k, v in asdict(value).items()} for name, value in found.items()}, indent=1))
    else:
        _print_metrics(str(table), found)


@app.command()
def predict(
    run: RUN,
    table: TABLE,
    out: Annotated[Path, typer.Option(help="A .csv or .parquet file: one row per row of the table, in its order.")],
    media_root: ROOT = None,
    overwrite: OVERWRITE = False,
) -> None:
    """Answer every row of a table, say which inputs each answer used and why others were not."""
    from consilience.run import load, write_predictions

    _check_file(out, (".csv", ".parquet"), overwrite)
    rows = write_predictions(load(run).prediction_batches(table, media_root), out, overwrite)
    print(f"{rows} rows: {out}")


@app.command()
def cache(
    folder: Annotated[Path | None, typer.Argument(help="Default: what CONSILIENCE_CACHE names.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove everything in it.")] = False,
) -> None:
    """Show, or clear, what is kept on disk so that nothing is decoded or encoded twice."""
    from consilience.data import shelf

    root = folder or shelf.folder()
    if root is None:
        raise fail(
            "no folder is named",
            "consilience cache FOLDER, or CONSILIENCE_CACHE",
            f"set {shelf.VARIABLE}=FOLDER to keep tokens",
        )
    if not root.is_dir():
        raise fail(
            f"there is no folder {root}",
            "a folder in which something is kept",
            "check the path; it is made when something is kept",
        )
    if clear:
        print(f"{shelf.trim(root, 0) / 1e6:.1f} MB removed: {root}")
        return
    found = shelf.held(root)
    print(
        f"{found.records} records on {found.shelves} shelves, {found.bytes / 1e6:.1f} MB of {shelf.LIMIT / 1e9:.0f} GB: {root}"
    )


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help=", ".join(LISTS))] = "modalities",
) -> None:
    """List what is installed, what the audit looks for, or every key of the recipe."""
    from consilience import component

    if what in component.KINDS:
        rows = [(name, source, _summary(component.find(what, name))) for name, source in component.names(what).items()]
        _print_table(("name", "from", "what"), rows)
    elif what == "encoders":
        from consilience.data.schema import modality

        rows = [
            (name, kind, _summary(component.load(path)))
            for name in component.names("modalities")
            for kind, path in modality(name).encoders().items()
        ]
        _print_table(("modality", "encoder", "what"), rows)
    elif what == "findings":
        from consilience.evidence.audit import KINDS

        _print_table(("finding", "what"), sorted(KINDS.items()))
    elif what == "recipe":
        from consilience.recipe import keys

        _print_table(("key", "type", "default", "what"), [(key.path, key.type, key.default, key.description) for key in keys()])
    else:
        raise fail(f"list {what!r}", "something that can be listed", nearest(what, LISTS))


def program() -> None:
    """`main` as a process of its own. It leaves at once: Arrow's threads may still be starting when an error ends a short
    call, and Python's own way out then aborts (seen in 8 of 25 calls)."""
    code: int | str | None = 0
    try:
        main()
    except SystemExit as done:
        code = done.code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def main() -> None:
    """The command line: errors of the user end with exit code 2 and without a traceback."""
    # Threads that wait by sleeping, not by spinning: ten times faster where another process shares the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except ConsilienceError as error:
        print("error: " + "\nerror: ".join(str(problem) for problem in error.problems), file=sys.stderr)
        sys.exit(2)


def _check_file(out: Path, endings: tuple[str, ...], overwrite: bool) -> None:
    """Raise ConsilienceError where `out` can be no file of ours, before the work is done that it is for."""
    from consilience.files import check_free, told

    if out.suffix not in endings:
        raise fail(f"--out is {out}", f"a file that ends in {' or '.join(endings)}", "choose another name")
    with told(out):
        folder = out.is_dir()
    if folder:
        raise fail(f"--out {out} is a folder", "a file", "choose another name")
    check_free(out, overwrite)


def _settings(
    texts: list[str] | None, *, exclude: list[str] | None, split: str | None, group: str | None, **keys: Any
) -> list[dict[str, Any]]:
    """Sparse recipe trees from options: those of `--set`, and over them those that have options of their own."""
    from consilience.recipe import setting

    columns = {key: value for key, value in (("column", split), ("group", group)) if value is not None}
    named = {"exclude": _columns(exclude) or None, "split": columns or None, **keys}
    return [*map(setting, texts or ()), {key: value for key, value in named.items() if value is not None}]


def _columns(options: list[str] | None) -> list[str]:
    """`--exclude a,"b c"` -> [a, b c]; quotes as in a CSV, for names with commas."""
    import csv

    return [name.strip() for line in csv.reader(options or (), skipinitialspace=True) for name in line if name.strip()]


def _print_metrics(title: str, metrics: dict[str, Estimate] | Any) -> None:
    rows = [(name, f"{item.value:.4f}", f"{item.low:.4f} .. {item.high:.4f}", str(item.n)) for name, item in metrics.items()]
    _print_table((title, "value", "95% interval", "rows"), rows)


def _print_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    _console().print(table)


def _console() -> Console:
    """On a pipe nothing is cut: the console takes the width that the widest line needs."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=4000)


def _summary(cls: type) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0] if cls.__doc__ else ""


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value


if __name__ == "__main__":
    program()
