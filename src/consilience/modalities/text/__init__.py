"""Text: free text of any language and length, one column per input.

A word, as a part that can be taken away, is a run of characters that are not white space, so that punctuation goes with
its word and removal needs no grammar. Chinese and Japanese put no space between words: there each character is a part.
Encoders see `words` instead: lower case, without punctuation. Scripts that need a dictionary to be split (Thai, Khmer)
count as one word per run; character n-grams carry them.

Reading repairs what would break JSON, HTML or hashing (NUL, lone surrogates) and says so in the notes. Unicode NFC and
the removal of outer white space change no meaning and are not noted.
"""

from __future__ import annotations

import html
import numbers
import re
import statistics
import sys
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from typing import ClassVar
from uuid import UUID

import numpy as np

from consilience.modalities.base import Corruption, Modality
from consilience.types import Cell, Claim, Column, Input, Limits, Missing, Part, Sample

_ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana and Han
# Vowel signs and accents belong to their word, but Python's \w leaves them out: combining marks, Hebrew, Arabic, the
# Indic blocks up to Sinhala, Thai, Lao, Tibetan, Myanmar, Khmer.
_MARKS = (
    "\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u064b-\u065f\u0670\u06d6-\u06ed\u0900-\u0963\u0966-\u0dff"
    "\u0e31-\u0e4e\u0eb1-\u0ece\u0f71-\u0fbc\u102b-\u109d\u17b4-\u17d3"
)
_SINGLE = re.compile(f"[{_ALONE}]")
_WORD = re.compile(rf"[\w{_MARKS}]+")
_CHUNK = re.compile(rf"[{_ALONE}]|[^\s{_ALONE}]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # all but tab, newline and carriage return
_SURROGATE = re.compile("[\ud800-\udfff]")
_PATH = re.compile(r"\S*[/\\]\S*|.*\.[A-Za-z]\w{1,4}")  # also web and mail addresses
_CALENDAR = re.compile(
    "jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?|nov(ember)?|dec(ember)?|"
    "mon(day)?|tue(sday)?|wed(nesday)?|thu(rsday)?|fri(day)?|sat(urday)?|sun(day)?|[ap]m|utc|gmt|at|of"
)
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")

_DROPPED = 0.1  # share of the words that `augment` leaves out
_SLIPS = 0.3  # share of the letters that `typos` hits at severity 1
_LOOK = 1000  # characters of a cell that `detect` looks at


@dataclass(frozen=True, kw_only=True)
class Passage(Sample):
    """A text. As `read` makes it: NFC, not empty, no control characters, surrogates or outer white space."""

    text: str

    @property
    def nbytes(self) -> int:
        return 256 + sys.getsizeof(self.text)


def words(text: str) -> list[str]:
    """The words that encoders see, in order: lower-case runs of letters, digits and marks; Han and kana one by one."""
    lower = text.lower()
    return _WORD.findall(lower if lower.isascii() else _SINGLE.sub(r" \g<0> ", lower))


def _spans(text: str) -> list[tuple[int, int]]:
    """Start and stop of every part of a text."""
    return [found.span() for found in _CHUNK.finditer(text)]


def _keep(sample: Passage, kept: Collection[int]) -> Passage:
    text, spans = sample.text, _spans(sample.text)
    chosen = [index for index in range(len(spans)) if index in kept]
    if len(chosen) == len(spans):
        return sample
    out: list[str] = []
    for before, index in zip([None, *chosen], chosen, strict=False):
        start, stop = spans[index]
        if before is not None:
            gap = text[spans[before][1] : spans[before + 1][0]]
            # Two runs of letters that only a removed Han character kept apart must not grow together.
            merge = before + 1 != index and not (_SINGLE.match(text, start) or _SINGLE.match(text, spans[before][0]))
            out.append(gap or (" " if merge else ""))
        out.append(text[start:stop])
    return replace(sample, text="".join(out))


def _typos(sample: Passage, severity: float, rng: np.random.Generator) -> Passage:
    """Slips of the fingers: letters swapped with the next one, doubled, left out, or replaced by the key beside."""
    text, out, skip = sample.text, [], False
    hits = rng.random(len(text)) < _SLIPS * severity  # the hits at a low severity are among those at a high one
    slips, sides = rng.integers(4, size=len(text)), rng.integers(2, size=len(text))
    for index, (letter, following) in enumerate(zip(text, text[1:] + " ", strict=False)):
        if skip or not hits[index] or not letter.isalpha():
            out.append("" if skip else letter)
            skip = False
        elif slips[index] == 0 and following.isalpha():
            out.append(following + letter)
            skip = True
        elif slips[index] == 1:
            out.append(letter + letter)
        elif slips[index] == 2:
            out.append("")
        else:
            out.append(_beside(letter, int(sides[index])))
    return replace(sample, text="".join(out).strip() or text[:1])


def _beside(letter: str, side: int) -> str:
    """The key left (0) or right (1) of a letter; letters that are not on a Latin keyboard are doubled."""
    row = next((row for row in _KEYS if letter.lower() in row), None)
    if row is None:
        return letter + letter
    place = row.index(letter.lower())
    key = row[place - 1] if place == len(row) - 1 or (side == 0 and place) else row[place + 1]
    return key.upper() if letter.isupper() else key


def _lose(sample: Passage, severity: float, rng: np.random.Generator) -> Passage:
    """Words are lost at random; at severity 1 one is left."""
    count = len(_spans(sample.text))
    order = rng.permutation(count)
    return _keep(sample, set(order[round(severity * (count - 1)) :].tolist()))


def _cut(sample: Passage, severity: float, rng: np.random.Generator) -> Passage:
    """The end is cut off, as a field of fixed size does; at severity 1 one character is left."""
    lost = round(severity * (len(sample.text) - 1))
    return replace(sample, text=sample.text[: len(sample.text) - lost].rstrip()) if lost > 0 else sample


class Text(Modality):
    """Cells of free text: reviews, notes, questions, titles, names."""

    name: ClassVar[str] = "text"
    corruptions: ClassVar[Mapping[str, Corruption]] = {"typos": _typos, "words": _lose, "cut": _cut}

    def detect(self, column: Column) -> Claim | None:
        """Words in most cells, not a code, path, date or template, and more different cells than a category has."""
        cells = [cell[:_LOOK] for cell in column.cells if isinstance(cell, str)]
        if not cells or len(cells) < 0.9 * len(column.cells):
            return None
        if sum(bool(_PATH.fullmatch(cell.strip())) for cell in cells) >= 0.5 * len(cells):
            return None
        plain = [_plain(cell) for cell in cells]
        middle = statistics.median(len(found) for found in plain)
        vocabulary = len({word for found in plain for word in found})
        if middle < 1 or (middle < 3 and 3 * vocabulary < len(set(cells))):  # "patient 17", "12 kg": always the same words
            return None
        share = column.distinct / max(column.rows - column.empty, 1)
        few = column.distinct <= min(max(20, 0.05 * column.rows), 1000)
        different = f"{column.distinct} different cells ({share:.0%} of those filled)" if share < 1 else "all cells differ"
        figures = f"{middle:g} word{'s' if middle > 1 else ''} in the middle cell, {different}"
        if middle >= 3 and (share >= 0.5 or not few):
            return Claim(0.9, f"free text: {figures}")
        if middle >= 4 and column.distinct > 20:  # sentences that come back, as questions do, are no category
            return Claim(0.8, f"repeated sentences: {figures}")
        if share >= 0.5:
            return Claim(0.5, f"short text: {figures}")
        return None

    def read(self, input: Input, cells: Mapping[str, Cell], limits: Limits) -> Passage | Missing:
        """The text of the input's one column. Numbers, dates and the like are written out; NaN and no cell are empty."""
        (column,) = input.columns
        cell = cells.get(column)
        if cell is None or (isinstance(cell, float | np.floating) and np.isnan(cell)):
            return Missing("empty")
        if not isinstance(cell, str | numbers.Number | np.number | np.bool | date | time | timedelta | UUID):
            return Missing(f"not text but {type(cell).__name__}")
        try:
            text = str(cell).strip()
        except ValueError:  # an int of more digits than Python writes
            return Missing("number too long")
        text, notes = _clean(text, limits.characters)
        return Passage(text=text, notes=notes) if text else Missing("empty")

    def augment(self, sample: Passage, rng: np.random.Generator) -> Passage:
        """Leaves out each word with probability 0.1, but never all of them."""
        count = len(_spans(sample.text))
        kept = set(np.flatnonzero(rng.random(count) >= _DROPPED).tolist())
        return _keep(sample, kept or {int(rng.integers(max(count, 1)))})

    def size(self, sample: Passage) -> int:
        """Number of words, as `parts` counts them."""
        return len(_spans(sample.text))

    def describe(self, sample: Passage) -> str:
        count, length = self.size(sample), len(sample.text)
        return f"{count} word{'' if count == 1 else 's'}, {length} character{'' if length == 1 else 's'}"

    def parts(self, sample: Passage) -> Sequence[Part]:
        return [Part(index, sample.text[start:stop]) for index, (start, stop) in enumerate(_spans(sample.text))]

    def keep(self, sample: Passage, kept: Collection[int]) -> Passage:
        """The other words go, each with the white space before the next word that stays; line breaks there go too."""
        return _keep(sample, kept)

    def draw(self, sample: Passage, weights: Mapping[int, float]) -> str:
        """A `div`; blue `mark`s speak for, orange ones against, stronger with the weight, which is also their title."""
        out, end = [], 0
        for index, (start, stop) in enumerate(_spans(sample.text)):
            weight, word = weights.get(index, 0.0), html.escape(sample.text[start:stop])
            colour = "31 119 214" if weight > 0 else "230 120 20"
            style = f"color:inherit;background:rgb({colour} / {min(abs(weight), 1.0):.2f})"
            out.append(html.escape(sample.text[end:start]))
            out.append(f'<mark style="{style}" title="{weight:+.2f}">{word}</mark>' if weight else word)
            end = stop
        out.append(html.escape(sample.text[end:]))
        return f'<div class="text" style="white-space:pre-wrap">{"".join(out)}</div>'

    def encoders(self) -> Mapping[str, str]:
        kinds = {"descriptor": "Descriptor", "scratch": "Scratch", "pretrained": "Pretrained"}
        return {name: f"{__name__}.{name}:{kind}" for name, kind in kinds.items()}


def _plain(cell: str) -> list[str]:
    """The words of a cell that are neither numbers nor codes nor names of months and days."""
    if len(_CHUNK.findall(cell)) == 1 and any(letter.isdigit() for letter in cell):
        return []
    return [word for word in words(cell) if not (_CALENDAR.fullmatch(word) or any(letter.isdigit() for letter in word))]


def _clean(text: str, limit: int) -> tuple[str, tuple[str, ...]]:
    """Cut, repair and normalise; the notes say what was done beyond NFC."""
    if len(text) <= limit and text.isascii() and not _CONTROL.search(text):  # nothing to do, as most often
        return text, ()
    cut = len(text) > limit
    text = text[:limit]  # first, so that a huge cell costs no more than a long one
    repaired = _SURROGATE.search(text) is not None
    if repaired:  # pairs become the character they stand for, lone ones U+FFFD
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    text, removed = _CONTROL.subn(lambda found: " " if found[0].isspace() else "", text)
    text = unicodedata.normalize("NFC", text)
    cut = cut or len(text) > limit  # a few characters grow in NFC
    notes = {f"text cut at {limit} characters": cut, "surrogates repaired": repaired, "control characters removed": removed}
    return text[:limit].strip(), tuple(note for note, done in notes.items() if done)
