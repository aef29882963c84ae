"""Are vulnerabilities known of the pinned set? Offline, as pip-audit does online: against a copy of the advisory database.

    python benchmarks/pins.py DATABASE

DATABASE is a checkout of github.com/pypa/advisory-database (YAML in the form of OSV), or a bare repository of it. A pin is
affected where an advisory lists its version, or a range of versions holds it. With internet `pip-audit -r constraints.txt
--no-deps --disable-pip` asks the newest database.
"""

from __future__ import annotations

import argparse
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

import results

NAME = "pins: advisories"
PINS = Path(__file__).parents[1] / "constraints.txt"


def pins(text: str) -> dict[str, Version]:
    """Name -> version."""
    lines = (line.partition("#")[0].partition(";")[0].strip() for line in text.splitlines())
    pairs = (line.split("==") for line in lines if "==" in line)
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def affected(version: Version, item: Mapping[str, Any]) -> bool:
    """Does one entry of `affected` hold the version? (OSV schema, "affected[].ranges[].events")."""
    if any(_version(str(listed)) == version for listed in item.get("versions", ())):
        return True
    for span in item.get("ranges", ()):
        inside = False
        for event in span["events"] if span["type"] == "ECOSYSTEM" else ():
            ((kind, value),) = event.items()
            at = Version("0") if str(value) == "0" else _version(str(value))
            if at is None:
                continue
            if kind == "introduced" and version >= at:
                inside = True
            elif (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
                inside = False
        if inside:
            return True
    return False


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def advisories(folder: Path, names: set[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Package and advisory, of those that were not taken back."""
    for place in sorted((folder / "vulns").iterdir()):
        if canonicalize_name(place.name) in names:
            for path in sorted(place.glob("*.yaml")):
                item = yaml.safe_load(path.read_text())
                if "withdrawn" not in item:
                    yield canonicalize_name(place.name), item


def run(database: Path) -> dict[str, Any]:
    """Every advisory that a pin is affected by."""
    pinned = pins(PINS.read_text())
    state = subprocess.run(
        ["git", "-C", str(database), "log", "-1", "--format=%H %cs"], capture_output=True, text=True, check=True
    )
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "database.tar"
        subprocess.run(["git", "-C", str(database), "archive", "-o", str(archive), "HEAD", "vulns"], check=True)
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")
        looked, found = 0, []
        for name, item in advisories(Path(folder), set(pinned)):
            looked += 1
            if any(
                canonicalize_name(each["package"]["name"]) == name and affected(pinned[name], each) for each in item["affected"]
            ):
                found.append({"pin": f"{name}=={pinned[name]}", "advisory": item["id"], "aliases": item.get("aliases", [])})
    commit, _, day = state.stdout.strip().partition(" ")
    return {
        "name": NAME,
        **results.origin(),
        "command": "python benchmarks/pins.py DATABASE",
        "seed": 0,
        "database": {"commit": commit, "day": day},
        "pins": len(pinned),
        "advisories": looked,
        "found": found,
    }


def page(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """How many advisories were looked at, and which hold."""
    item = found.get(results.file_of(NAME).name)
    if item is None:
        return []
    what = ", ".join(f"{one['pin']}: {one['advisory']}" for one in item["found"]) or "none holds of a pinned version"
    lines = ["", "## Advisories of the pinned set", "", "Bar: no pinned version with a known vulnerability.", ""]
    lines += [f"{item['advisories']} advisories of {item['pins']} pinned packages, as of {item['database']['day']}: {what}."]
    return [*lines, "", f"    {item['command']}", "", f"[json](results/{results.file_of(NAME).name})"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", type=Path, help="a checkout of the advisory database")
    results.write(NAME, run(parser.parse_args().database))


if __name__ == "__main__":
    main()
