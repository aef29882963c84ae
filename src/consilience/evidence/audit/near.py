"""Rows that equal another but for a trifle: all inputs are equal, and one of them nearly.

What counts as nearly: any spelling in upper and lower case, punctuation and white space; any value in one column that is
neither a file nor a text; a text of which `SIMILAR` of the pairs of neighbouring words are the same (found by MinHash,
Broder 1997, then counted); a picture or recording whose descriptor is `CLOSE` times as far away as that of the nearest
other usually is. In a table of a few coarse columns rows that differ in one are nothing to report: see `alike.by_chance`.

At most `quick.ROWS` rows are looked at, and `LOOKED` files of an input, where there are rows that are otherwise equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from consilience.evidence.audit import quick
from consilience.evidence.audit.alike import (
    RARE,
    beyond_chance,
    by_chance,
    column_marks,
    later,
    mixed,
    most_telling,
    pairs,
    row_marks,
    surprise,
)
from consilience.evidence.audit.features import descriptors
from consilience.evidence.audit.finding import Check, Examined, Finding
from consilience.evidence.audit.quick import Seen, Words

KINDS: Mapping[str, str] = {
    "near-duplicate-rows": "rows that equal another but for spelling, one column, or a trifle of a picture or recording",
}

SIMILAR = 0.9
FEW_DIFFERENT = 0.02
"""A column of fewer different cells, as a share of the rows, is one of categories: their spelling is not looked at."""
LONG = 8
"""Words of a text that may differ from another's in some."""
BANDS, DEEP = 8, 4
"""Texts with 0.9 of their pairs of words in common agree in one band of four hashes at least with 99.98%."""
CLOSE = 0.2
"""On leaves, digits and drawings no two pictures but copies are closer than 0.25, and no two recordings or series than 0.3;
copies saved as JPEG are 0.03 to 0.4 away, those 5% brighter 0.05 to 0.25."""
LOOKED = 1000


@dataclass(frozen=True, eq=False)
class Close:
    """The rows looked at, and the marks of their cells, of texts without regard to their spelling."""

    rows: np.ndarray
    read: list[np.ndarray]  # by column [R] uint64
    seen: list[Seen]
    words: dict[int, Words]  # of the columns that hold texts

    @property
    def total(self) -> np.ndarray:
        return np.stack(self.read).sum(0, dtype=np.uint64)


def near_duplicates(examined: Examined) -> Iterator[Finding]:
    """One finding for all rows that equal another of the rows looked at but for a trifle."""
    close = _close(examined)
    if len(close.rows) < 2:
        return
    twin = np.full(len(close.rows), -1)
    said = []
    for place, other, what in _twins(examined, close):
        new = place[twin[place] < 0]
        if len(new):
            said.append(f"{len(new)} {what}")
        twin[place] = np.where(twin[place] < 0, other, twin[place])
    places = np.flatnonzero(twin >= 0)
    if not len(places):
        return
    part = quick.parts(examined)[close.rows]
    apart = int(((part[places] != part[twin[places]]) & (part[places] >= 0) & (part[twin[places]] >= 0)).sum())
    found = f"{len(places)} of the {len(close.rows)} rows looked at nearly equal an earlier one: {', '.join(said)}" + (
        f"; {apart} stand in another part than their twin" if apart else ""
    )
    setting = quick.accepting(examined.recipe, "near-duplicate-rows")
    yield Finding("near-duplicate-rows", (), len(places), quick.first(close.rows[places]), found, setting)


def _close(examined: Examined) -> Close:
    """The rows looked at, without those in which nothing stands; of rows that are equal only the first."""
    rows, seen = quick.sampled(examined), quick.inputs(examined)
    rows = rows[~later(row_marks(examined)[rows])]
    marks = [column_marks(examined, item, rows) for item in seen]
    filled = np.any([found != 0 for found in marks], axis=0)
    rows, marks = rows[filled], [found[filled] for found in marks]
    texts: dict[int, Words] = {}
    for index, item in enumerate(seen):
        if item.media or len(np.unique(marks[index])) <= FEW_DIFFERENT * len(rows):
            continue
        if quick.numbers(quick.cells_of(examined, item.column, rows[:200])) is None:
            words = quick.words(examined, item.column, rows)
            marks[index] = np.where(words.counts > 0, _sequence(words), marks[index])
            if words.counts.sum() >= LONG * max((words.counts > 0).sum(), 1) / 2:
                texts[index] = words
    return Close(rows, [mixed(found, index) for index, found in enumerate(marks)], seen, texts)


def _sequence(words: Words) -> np.ndarray:
    """[R] int64, the mark of each cell's words in their order."""
    place = np.arange(len(words.flat)) - words.starts[:-1][words.owner]
    return _summed(mixed(words.flat.astype(np.int64) << 20 | place, -3), words).view(np.int64)


def _summed(values: np.ndarray, words: Words) -> np.ndarray:
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values, dtype=np.uint64)])
    return total[words.starts[1:]] - total[words.starts[:-1]]


def _twins(examined: Examined, close: Close) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    """Places of rows, the place of an earlier row that each nearly equals, and in what they differ."""
    total = close.total
    same = later(total)
    if same.any():
        yield np.flatnonzero(same), _earlier(total)[same], "differ in spelling only"
    plain = [index for index, item in enumerate(close.seen) if not item.media and index not in close.words]
    chosen = most_telling(close.read) if len(close.read) > 2 else []
    for index in plain:
        rest = total - close.read[index]
        found = later(rest) & ~same
        others = [other for other in chosen if other != index]
        if not found.any() or len(others) < 2:
            continue
        if not beyond_chance(pairs(rest) - pairs(total), by_chance(rest, [close.read[other] for other in others])):
            continue
        place, agreed = np.flatnonzero(found), [other for other in range(len(close.read)) if other != index]
        column = [close.read[other] for other in agreed]
        expected = surprise([marks[place] for marks in column], [marks[~found] for marks in column], len(close.rows))
        place = place[expected * len(plain) < RARE]
        if len(place):
            yield place, _earlier(rest)[place], f"differ in {close.seen[index].column!r} only"
    for index, words in close.words.items():
        place, other = _similar(words, total - close.read[index])
        if len(place):
            yield place, other, f"share {SIMILAR:.0%} of the words of {close.seen[index].column!r}"
    for index, item in enumerate(close.seen):
        if item.media and not item.input.many:
            place, other = _near(examined, item, close.rows, total - close.read[index])
            if len(place):
                yield place, other, f"have nearly the same {item.column!r}"


def _earlier(marks: np.ndarray) -> np.ndarray:
    """[R] the first place with the same mark."""
    _, first, group = np.unique(marks, return_index=True, return_inverse=True)
    return first[group]


def _similar(words: Words, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows with equal `rest` whose texts have `SIMILAR` of their pairs of words in common: (places, places of the earlier)."""
    _, group, count = np.unique(rest, return_inverse=True, return_counts=True)
    long = np.flatnonzero((words.counts >= LONG) & (count[group] > 1))
    if len(long) < 2:
        return long[:0], long[:0]
    shingles, starts = _shingles(words, long)
    found: dict[int, int] = {}
    sets: dict[int, np.ndarray] = {}

    def shingle_set(place: int) -> np.ndarray:
        if place not in sets:
            sets[place] = np.unique(shingles[starts[place] : starts[place + 1]])
        return sets[place]

    for band in range(BANDS):
        key = rest[long].copy()
        for deep in range(DEEP):
            least = np.minimum.reduceat(mixed(shingles, band * DEEP + deep), starts[:-1])
            key = mixed(key.view(np.int64), 7) + least
        order = np.argsort(key, kind="stable")
        equal = np.flatnonzero(key[order][1:] == key[order][:-1])
        first = _earlier(key)
        for place, before in zip(order[equal + 1].tolist(), order[equal].tolist(), strict=True):
            for other in {before, int(first[place])}:
                if place not in found and _jaccard(shingle_set(place), shingle_set(other)) >= SIMILAR:
                    found[place] = other
    places = np.array(sorted(found), np.int64)
    return long[places], long[[found[place] for place in places.tolist()]]


def _shingles(words: Words, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of neighbouring words of some cells, one after the other as int64, and where those of each start."""
    size = words.counts[chosen] - 1
    starts = np.concatenate([[0], np.cumsum(size)])
    place = np.arange(starts[-1]) - np.repeat(starts[:-1] - words.starts[chosen], size)
    flat = words.flat.astype(np.int64)
    return flat[place] << 31 ^ flat[place + 1], starts


def _jaccard(one: np.ndarray, two: np.ndarray) -> float:
    shared = len(np.intersect1d(one, two, assume_unique=True))
    return shared / (len(one) + len(two) - shared)


def _near(examined: Examined, item: Seen, rows: np.ndarray, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows with equal `rest` whose descriptors are far closer than those of neighbours are."""
    _, group, count = np.unique(rest, return_inverse=True, return_counts=True)
    twins = np.flatnonzero(count[group] > 1)
    if not len(twins):
        return twins, twins
    chosen = np.unique(np.concatenate([_spread(twins, LOOKED), _spread(np.arange(len(rows)), LOOKED // 5)]))
    values = descriptors(examined, item.input, rows[chosen])
    there = np.isfinite(values).all(1)
    chosen, values = chosen[there], values[there]
    if len(chosen) < 3:
        return twins[:0], twins[:0]
    distance = _distances(values)
    np.fill_diagonal(distance, np.inf)
    usual = float(np.median(distance.min(1)))
    distance[rest[chosen][:, None] != rest[chosen][None]] = np.inf
    distance[np.triu_indices(len(chosen))] = np.inf  # the earlier one of each pair is the column
    nearest = distance.argmin(1)
    found = distance[np.arange(len(chosen)), nearest] <= CLOSE * usual
    return chosen[found], chosen[nearest[found]]


def _spread(places: np.ndarray, most: int) -> np.ndarray:
    return places[np.unique(np.linspace(0, len(places) - 1, most).astype(np.int64))]


def _distances(values: np.ndarray) -> np.ndarray:
    length = np.square(values).sum(1)
    return np.sqrt(np.maximum(length[:, None] + length[None] - 2 * values @ values.T, 0.0))


CHECKS: tuple[Check, ...] = (near_duplicates,)
