"""What mutants are given to: for each reader small files, and a function that reads a changed one and says what came of it."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import soundfile
import yaml

import consilience
from consilience import unfinished
from consilience.checkpoint import ABOUT, Checkpoints
from consilience.data.schema import modality
from consilience.data.table import read_table
from consilience.media import FORMATS
from consilience.recipe import make_recipe, validate
from consilience.types import Input, Limits, Missing, State

Read = Callable[[int, bytes], str]
"""The number of the file that was changed, and its bytes -> what came of it."""

Made = tuple[list[bytes], Read]

DIGEST = 32
"""Bytes of the digest that a checkpoint begins with."""

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "1"


def _cells(kind: str) -> Read:
    """Bytes in a cell, read by a modality."""
    reader, item = modality(kind), Input("it", kind, ("it",))

    def read(place: int, data: bytes) -> str:
        found = reader.read(item, {"it": data}, Limits())
        if isinstance(found, Missing):
            return f"missing: {found.reason}"
        assert len(reader.parts(found)) > 0
        return "read"

    return read


def image(folder: Path) -> Made:
    """Every format that is opened, of three depths, with EXIF, transparency and frames."""
    rng = np.random.default_rng(0)
    colours = PIL.Image.fromarray(rng.integers(0, 255, (17, 23, 3), dtype=np.uint8)).quantize(16)
    deep = PIL.Image.fromarray(rng.integers(0, 2**16, (9, 7), dtype=np.uint16))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    made: list[tuple[PIL.Image.Image, str, dict[str, Any]]] = [
        (colours.convert("RGB"), name, {}) for name in FORMATS if name != "GIF"
    ]
    made += [(colours, "PNG", {}), (colours, "GIF", {}), (deep, "PNG", {}), (deep, "TIFF", {})]
    made += [(colours, "GIF", {"save_all": True, "append_images": [colours.rotate(90)]})]
    made += [(PIL.Image.new("RGBA", (8, 5), (1, 2, 3, 90)), "PNG", {"exif": exif})]
    seeds = []
    for picture, name, options in made:
        file = io.BytesIO()
        picture.save(file, name, **options)
        seeds.append(file.getvalue())
    return seeds, _cells("image")


def audio(folder: Path) -> Made:
    waves = 0.5 * np.sin(np.arange(2400) / 7)
    seeds = []
    for form, subtype in (
        ("WAV", "PCM_16"),
        ("WAV", "FLOAT"),
        ("WAV", "ULAW"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("AIFF", "PCM_24"),
        ("MP3", None),
    ):
        file = io.BytesIO()
        soundfile.write(
            file, np.stack([waves, waves[::-1]], 1) if form == "FLAC" else waves, 8000, format=form, subtype=subtype
        )
        seeds.append(file.getvalue())
    for form, codec in (("mp4", "aac"), ("matroska", "aac")):
        file = io.BytesIO()
        with av.open(file, "w", format=form) as container:
            stream: Any = container.add_stream(codec, rate=16000)
            frame = av.AudioFrame.from_ndarray(
                np.tile(waves, 2)[None].astype(np.float32)[:, :4096], format="fltp", layout="mono"
            )
            frame.sample_rate = 16000
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)
        seeds.append(file.getvalue())
    return seeds, _cells("audio")


def series(folder: Path) -> Made:
    values = np.arange(24.0).reshape(8, 3)
    seeds = []
    for array in (values, values.astype("<f4"), values.astype(">i2"), values[:, 0], np.asfortranarray(values)):
        file = io.BytesIO()
        np.save(file, array)
        seeds.append(file.getvalue())
    file = io.BytesIO()
    np.lib.format.write_array(file, values, version=(2, 0))
    seeds.append(file.getvalue())
    file = io.BytesIO()
    pq.write_table(pa.table({"time": np.arange(8) / 4, "x": values[:, 0], "y": values[:, 2]}), file)
    return [*seeds, file.getvalue()], _cells("series")


def series_files(folder: Path) -> Made:
    """Files whose ending says what they are: tables with a clock, with dates, and without names."""
    reader, item = modality("series"), Input("it", "series", ("it",))
    values = np.arange(8.0)
    dated = pa.table({"date": pa.array(range(8), pa.timestamp("s")), "x": values, "on": [True, None] * 4})
    file = io.BytesIO()
    pq.write_table(dated, file, compression="none")
    text = "".join(f"{place / 4},{value},{value**2},word\n" for place, value in enumerate(values))
    days = "".join(f"2024-01-0{place + 1}\t{value}\t\n" for place, value in enumerate(values))
    seeds = {
        "a.csv": ("time_ms,x,y,note\n" + text).encode(),
        "b.csv": text.replace(",word", "").encode(),
        "c.tsv": ("date\tx\tempty\n" + days).encode(),
        "d.parquet": file.getvalue(),
    }
    names = list(seeds)

    def read(place: int, data: bytes) -> str:
        path = folder / names[place]
        path.write_bytes(data)
        found = reader.read(item, {"it": path}, Limits())
        if isinstance(found, Missing):
            return f"missing: {found.reason}"
        assert len(reader.parts(found)) > 0
        return "read"

    return list(seeds.values()), read


def arrays(folder: Path) -> Made:
    reader, item = modality("series"), Input("it", "series", ("it",))

    def read(place: int, data: bytes) -> str:
        found = reader.read(item, {"it": data.decode("utf-8", "replace")}, Limits())
        return f"missing: {found.reason}" if isinstance(found, Missing) else "read"

    return [b"[1, 2.5, null, 4e3]", b"[[1, 2], [3, null], [5, 6]]", b"[0.5]"], read


def _tables(folder: Path, seeds: Mapping[str, bytes]) -> Made:
    """Files of those endings. A table that is read is looked at to its last cell."""
    endings = list(seeds)

    def read(place: int, data: bytes) -> str:
        path = folder / f"table{endings[place]}"
        path.write_bytes(data)
        table = read_table(path)
        for name in table.names:
            assert len(table.cells(name)) == len(table)
            table.column(name)
        return "read"

    return list(seeds.values()), read


def text_tables(folder: Path) -> Made:
    rows = [["name", "a", "when"], ['é, "x"', "1.5", "2024-01-02"], ["", "NaN", ""], ["two\nlines", "-7", "2024-02-03 10:00"]]
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    text = file.getvalue().encode()
    records = [dict(zip(rows[0], row, strict=True)) | {"list": [1, None], "deep": {"k": [True]}} for row in rows[1:]]
    lines = "\n".join(map(json.dumps, records)).encode()
    seeds = {".csv": text, ".tsv": text.replace(b",", b"\t"), ".json": json.dumps(records).encode(), ".jsonl": lines}
    return _tables(folder, {**seeds, ".csv.gz": gzip.compress(text, mtime=0), ".jsonl.gz": gzip.compress(lines, mtime=0)})


def binary_tables(folder: Path) -> Made:
    table = pa.table(
        {
            "a": [1, None, 3],
            "text": ["x", "é", None],
            "list": [["u", "v"], [], None],
            "media": [{"bytes": b"\x89PNG", "path": "x.png"}, None, {"bytes": None, "path": None}],
            "when": pa.array([0, 1, None], pa.timestamp("us", "UTC")),
            "word": pa.array(["p", "q", "p"]).dictionary_encode(),
        }
    )
    seeds = {}
    for ending, write in (
        (".parquet", lambda file: pq.write_table(table, file, compression="none")),
        (".pq", lambda file: pq.write_table(table, file, compression="zstd")),
        (".arrow", lambda file: feather.write_feather(table, file, compression="uncompressed")),
        (".feather", lambda file: feather.write_feather(table, file, compression="lz4")),
    ):
        file = io.BytesIO()
        write(file)
        seeds[ending] = file.getvalue()
    return _tables(folder, seeds)


def recipe(folder: Path) -> Made:
    """Files laid over a preset."""

    def read(place: int, data: bytes) -> str:
        path = folder / "recipe.yaml"
        path.write_bytes(data)
        found = make_recipe("y", file=path)
        validate(yaml.safe_load(found.dump()))
        return "read"

    whole = make_recipe("y", preset="best").model_dump(mode="json")
    small = {
        "inputs": {"x": {"modality": "text", "columns": ["a", "b*"]}},
        "split": {"method": "random"},
        "predictors": {"trees": {"leaves": 7}},
    }
    seeds = [json.dumps(whole).encode(), json.dumps(small).encode(), yaml.safe_dump(small).encode(), b"a: &x [1]\nb: *x\n"]
    return [seed for seed in seeds if seed[0] != ord("a")], read


def _runs(*names: str) -> Callable[[Path], Made]:
    """Golden runs, one file of which is changed. A run that opens is asked for predictions."""

    def made(folder: Path) -> Made:
        places: list[Path] = []
        tables = {}
        for name in names:
            shutil.copytree(GOLDEN / name / "run", folder / name)
            tables[folder / name] = pq.read_table(GOLDEN / name / "table.parquet").slice(0, 2)
            places += sorted(path for path in (folder / name).rglob("*") if path.is_file())
        whole = [path.read_bytes() for path in places]

        def read(place: int, data: bytes) -> str:
            path = places[place]
            run = next(run for run in tables if path.is_relative_to(run))
            path.write_bytes(data)
            try:
                consilience.load(run).predictions(tables[run])
            finally:
                path.write_bytes(whole[place])
            return "read"

        return whole, read

    return made


def _checkpoint(mended: bool) -> Callable[[Path], Made]:
    """A checkpoint; `mended`: what stands behind the digest is changed, and the digest is of that."""

    def made(folder: Path) -> Made:
        kept = Checkpoints(folder)
        kept.put("state", State({"epoch": 3, "best": [0.5, None]}, {"weights": np.arange(6.0), "order": np.arange(4)}))
        (path,) = folder.glob("*.checkpoint")
        seed = path.read_bytes()

        def read(place: int, data: bytes) -> str:
            path.write_bytes(hashlib.blake2b(data, digest_size=DIGEST).digest() + data if mended else data)
            found = kept.get("state")
            if found is None:
                return "missing: damaged"
            assert mended or data == seed
            return "read"

        return [seed[DIGEST:] if mended else seed], read

    return made


def training(folder: Path) -> Made:
    """What an unfinished training was asked for, as `--resume` reads it."""
    place_of = folder / ".run.training"
    place_of.mkdir()
    asked = {"table": "t.csv", "recipe": make_recipe("y").dump(), "test": None, "media_root": None, "strict": False}

    def read(place: int, data: bytes) -> str:
        (place_of / ABOUT).write_bytes(data)
        validate(yaml.safe_load(unfinished.resumed(folder / "run")["recipe"]))
        return "read"

    return [json.dumps({"version": "0", "request": asked}).encode()], read


READERS: Mapping[str, Callable[[Path], Made]] = {
    "image": image,
    "audio": audio,
    "series": series,
    "series files": series_files,
    "arrays": arrays,
    "text tables": text_tables,
    "binary tables": binary_tables,
    "recipe": recipe,
    "run": _runs("numbers", "stack", "labels", "concat", "scratch"),
    "checkpoint": _checkpoint(False),
    "checkpoint behind its digest": _checkpoint(True),
    "training": training,
}
