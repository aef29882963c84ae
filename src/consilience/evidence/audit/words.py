"""Names and free text: spellings of one thing, characters that are no text, texts that were cut or stand for nothing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

import numpy as np

from consilience.evidence.audit.cells import Content
from consilience.evidence.audit.finding import Finding
from consilience.evidence.inspection_ranges import shown
from consilience.tasks.base import label_key
from consilience.types import Cell

KINDS: Mapping[str, str] = {
    "spellings": "categories or groups that differ only in case, blanks or the form of Unicode, and count as different",
    "outer-blanks": "the same category with and without blanks around it",
    "class-spellings": "classes of the target that differ only in case, blanks or the form of Unicode",
    "broken-encoding": "text that was read in a wrong encoding (Ã© for é), or lost letters to it (the sign \ufffd)",
    "control-characters": "characters that are no text: control characters, invisible ones",
    "html-in-text": "tags or entities of HTML in text",
    "cut-text": "more texts of one length than chance allows, and hardly any longer: they were cut",
    "missing-as-class": "targets such as NA or ?, which say that there is none but are learned as a class",
    "repeated-text": "one text in many rows, where the others differ: it may stand for nothing",
}

_NAMES = 10_000  # so many different cells are no categories

# What UTF-8 becomes when it is read as Latin-1 or Windows-1252. Quotes and dashes after a capital letter are text as it is.
_ENCODING = re.compile(
    "\ufffd|[\u00c3\u00c2][\u0080-\u0084\u0086-\u0090\u0098-\u00bf\u20ac\u201a\u0192\u201e\u2020\u2021\u02c6\u2030\u0160\u0152"
    "\u017d\u2022\u02dc\u2122\u0161\u0153\u017e\u0178]|\u00e2(?:\u20ac|\u0080)[\u0080-\u00bf\u2018-\u2122\u0153\u0178]?|\u00f0\u0178"
)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u200b\u2060\ufeff\u202a-\u202e]")
_HTML = re.compile(
    r"</?(?:p|br|div|span|b|i|u|a|em|strong|ul|ol|li|h[1-6]|table|tr|td|img|font|script|style)\b[^<>]*>"
    r"|&(?:amp|lt|gt|quot|apos|nbsp|hellip|[mn]dash|[lr][sd]quo|euro|copy|reg|deg|szlig|[a-z](?:acute|grave|circ|uml|tilde)"
    r"|#\d{1,6}|#x[0-9a-f]{1,5});",
    re.IGNORECASE,
)
_NOT_SAID = frozenset({"na", "n/a", "#n/a", "nan", "null", "-", "?", "missing", "not available"})  # "none" may be an answer
_FEW_HTML = 3
_LONG, _SPREAD, _SHORT, _CUT, _NEAR = 20, 0.5, 0.1, 10, 18
_REPEATED, _DIFFERENT, _TEXTS = 0.05, 0.5, 100


def spellings(content: Content) -> Iterable[Finding]:
    """Names that are equal once case, blanks and Unicode are brought to one form."""
    if not content.named or len(content.cells) > _NAMES:
        return
    alike: dict[str, list[int]] = {}
    for place, cell in enumerate(content.cells):
        if isinstance(cell, str):
            alike.setdefault(" ".join(unicodedata.normalize("NFKC", cell).casefold().split()), []).append(place)
    several = {key: places for key, places in alike.items() if len(places) > 1}
    blanks, kinds = np.zeros(len(content.cells), bool), np.zeros(len(content.cells), bool)
    for places in several.values():
        different = {str(content.cells[place]).strip() for place in places}
        if len(different) > 1:
            kinds[places] = True
        outer = [place for place in places if content.cells[place] != content.cells[place].strip()]
        plain = {content.cells[place] for place in places}
        blanks[[place for place in outer if content.cells[place].strip() in plain]] = True
    if kinds.any():
        groups = [places for places in several.values() if kinds[places[0]]]
        said = "; ".join(" and ".join(repr(shown_raw(content.cells[place])) for place in places[:3]) for places in groups[:3])
        found = f"{len(groups)} names are written in several ways, which count as different: {said}"
        yield content.finding("class-spellings" if content.role == "target" else "spellings", _lesser(content, groups), found)
    if blanks.any():
        found = f"{content.count[blanks].sum()} cells have blanks around them that others of the same name have not"
        yield content.finding("outer-blanks", blanks, f"{found}, such as {_quoted(content, blanks)}")


def shown_raw(cell: Cell) -> str:
    """With the blanks that `shown` takes away."""
    return str(cell) if len(str(cell)) < 40 else shown(cell)


def _quoted(content: Content, chosen: np.ndarray) -> str:
    return ", ".join(repr(shown_raw(content.cells[place])) for place in np.flatnonzero(chosen)[:3])


def _lesser(content: Content, groups: Iterable[list[int]]) -> np.ndarray:
    """All spellings but the most frequent one of each."""
    chosen = np.zeros(len(content.cells), bool)
    for places in groups:
        ranked = sorted(places, key=lambda place: -int(content.count[place]))
        usual = str(content.cells[ranked[0]]).strip()
        chosen[[place for place in ranked[1:] if str(content.cells[place]).strip() != usual]] = True
    return chosen


def characters(content: Content) -> Iterable[Finding]:
    """Characters that no one typed."""
    if content.quantity or content.kind == "date":
        return
    texts = [cell if isinstance(cell, str) else "" for cell in content.cells]
    broken = [not text.isascii() and _ENCODING.search(text) is not None for text in texts]
    control = [not text.isprintable() and _CONTROL.search(text) is not None for text in texts]
    html = [("<" in text or "&" in text) and _HTML.search(text) is not None for text in texts]
    for kind, hits, least, said in (
        ("broken-encoding", broken, 1, "were read in a wrong encoding"),
        ("control-characters", control, 1, "hold characters that are no text"),
        ("html-in-text", html, _FEW_HTML, "hold tags or entities of HTML"),
    ):
        chosen = np.array(hits, bool)
        rows = int(content.count[chosen].sum()) if chosen.any() else 0
        if rows >= least:
            match = {"broken-encoding": _ENCODING, "control-characters": _CONTROL, "html-in-text": _HTML}[kind]
            example = match.search(texts[int(np.flatnonzero(chosen)[0])])
            found = f"{rows} of {content.filled} cells {said}, such as {example[0] if example else ''!r}"
            yield content.finding(kind, chosen, found)


def cut(content: Content) -> Iterable[Finding]:
    """One length that ten times as many texts have as any length just below, and fewer are longer than have it.

    A field of fixed size cuts like that. Blanks at the end may be gone, so the two lengths before it do not count; some texts
    are longer again where signs were written out after the cut. Where hardly any is half as long, all are made alike.
    """
    if not (content.free or content.unused):
        return
    lengths = np.array([len(cell) if isinstance(cell, str) else 0 for cell in content.cells])
    if len(lengths) < _TEXTS:
        return
    have = np.bincount(lengths, minlength=_LONG + 1)
    below = np.concatenate([[0], np.cumsum(have)])
    size = np.arange(_LONG, len(have))
    near = np.lib.stride_tricks.sliding_window_view(have, _NEAR)[size - _LONG].max(1)  # from _LONG to 3 less than the size
    found = size[(have[size] >= _CUT * (1 + near)) & (have[size] > len(lengths) - below[size + 1])]
    if not len(found) or have[found].max() > _SPREAD * len(lengths):
        return
    longest = int(found[have[found].argmax()])
    if below[longest // 2] < _SHORT * len(lengths):
        return
    chosen = lengths == longest
    rows, longer = int(content.count[chosen].sum()), int(content.count[lengths > longest].sum())
    said = f"{rows} of {content.filled} texts are exactly {longest} characters long and {longer or 'none'} longer"
    yield content.finding("cut-text", chosen, f"{said}: they were cut")


def repeated(content: Content) -> Iterable[Finding]:
    """Names come back, texts do not."""
    if not content.free or content.filled < _TEXTS or len(content.cells) < _DIFFERENT * content.filled:
        return
    chosen = (content.count >= _REPEATED * content.filled) & (content.count > 2)
    if chosen.any():
        found = f"{content.count[chosen].sum()} of {content.filled} cells are {content.examples(chosen)}"
        yield content.finding("repeated-text", chosen, f"{found}, while the others differ: it may stand for nothing")


def odd_classes(content: Content) -> Iterable[Finding]:
    """Labels that stand for "nothing" are learned as a class."""
    if content.role != "target" or content.quantity:
        return
    chosen = np.array([label_key(cell).lower() in _NOT_SAID for cell in content.cells], bool)
    if chosen.any():
        found = f"{content.count[chosen].sum()} of {content.filled} targets are {content.examples(chosen)}"
        yield content.finding("missing-as-class", chosen, f"{found}: a class like any other, as it is; leave these cells empty")


EACH = (spellings, characters, cut, repeated, odd_classes)
