"""The channels of an input: what is known of them in the schema, samples brought to it, and the scale of each.

A sample may come with other channels than the rest: a sensor was off, a file has one more column. How many there are, or
what they are called, is the `kind` of the column, told from its cells when the schema is made, as the kind of a tabular
column is. So `read` can bring every sample to the same channels, and *say so in its notes*: encoders, which cannot, always
get what they were fitted on. Named channels are matched by name, others by place. Missing ones are NaN.

Each channel is centred on its median and divided by its quartile distance (/ 1.349: the deviation, were it normal), over
values drawn evenly from the training rows. Medians, because one loose sensor would else set the scale for all; what lies
far out is compressed by the inverse hyperbolic sine and not cut, so that a baseline of another person stays apart.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from consilience.errors import fail
from consilience.modalities.series.arrays import CHANNELS, Found
from consilience.types import State

_DRAWN = 64  # values per row from which scales are learned
_ROWS = 5000

Layout = int | tuple[str, ...] | None
"""How many channels, or their names; None: not known."""


def layout_of(found: Sequence[Found]) -> Layout:
    """The layout that most have; of equally frequent ones, the first."""
    counts = Counter(item.channels or item.values.shape[1] for item in found)
    return counts.most_common(1)[0][0] if counts else None


def written(layout: Layout) -> str:
    """A layout as the kind of a column: "3", or '["x", "y", "z"]'."""
    return "" if layout is None else json.dumps(layout, ensure_ascii=False)


def layout_from(kinds: Sequence[str]) -> Layout:
    """What `written` wrote. Raises ConsilienceError for anything else, which a damaged run may hold."""
    if not kinds or not kinds[0]:
        return None
    try:
        read = json.loads(kinds[0])
    except ValueError:
        read = None
    if isinstance(read, int) and not isinstance(read, bool) and 1 <= read <= CHANNELS:
        return read
    if isinstance(read, list) and read and all(isinstance(name, str) for name in read):
        return tuple(read)
    raise fail(f"the channels of a series are {kinds[0]!r}", "a number of channels, or their names", "train the run again")


def fitted(found: Found, layout: Layout) -> Found:
    """With exactly the channels of the layout; what was added or left out is noted."""
    if layout is None or found.channels == layout:
        return found
    count = layout if isinstance(layout, int) else len(layout)
    names = found.channels if isinstance(layout, int) else layout
    if not isinstance(layout, int) and found.channels:
        places = [found.channels.index(name) if name in found.channels else None for name in layout]
    else:
        places = [place if place < found.values.shape[1] else None for place in range(count)]
    values = found.values if places == list(range(found.values.shape[1])) else _taken(found.values, places)
    gone, more = places.count(None), found.values.shape[1] - (count - places.count(None))
    notes = found.notes
    if gone:
        notes += (f"{gone} of {count} channels missing",)
    if more:
        notes += (f"{more} channels more than {count} left out",)
    return replace(found, values=values, channels=names[:count] if len(names) >= count else (), notes=notes)


def _taken(values: np.ndarray, places: Sequence[int | None]) -> np.ndarray:
    taken = np.full((len(values), len(places)), np.nan, dtype=np.float32)
    for place, source in enumerate(places):
        if source is not None:
            taken[:, place] = values[:, source]
    return taken


@dataclass(frozen=True, eq=False)
class Scales:
    """What `fit` learned of the channels: centre and spread, float64 [C], spread above zero."""

    centre: np.ndarray
    spread: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """For a state; `scales_from` takes them back."""
        return {"centre": self.centre, "spread": self.spread}

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """[T, C'] -> float64 [T, C], in deviations from the centre, NaN where missing.

        C' differs from C only where the kind of the column is not known, so that `read` could not tell. Then what is over
        is left out and what lacks is missing.
        """
        count = len(self.centre)
        made = np.full((len(values), count), np.nan)
        made[:, : values.shape[1]] = values[:, :count]
        return (made - self.centre) / self.spread


def scales_of(samples: Sequence[np.ndarray], rng: np.random.Generator) -> Scales:
    """Of the channels that most samples have, from at most 5000 of them, [T, C] each. One channel without any samples."""
    counts = Counter(values.shape[1] for values in samples)
    count = counts.most_common(1)[0][0] if counts else 1
    chosen = np.sort(rng.permutation(len(samples))[:_ROWS])
    drawn = [samples[place][_evenly(len(samples[place]))] for place in chosen if samples[place].shape[1] == count]
    values = np.concatenate(drawn).astype(np.float64) if drawn else np.zeros((1, count))
    centre, spread = np.zeros(count), np.ones(count)
    for channel in range(count):
        known = values[~np.isnan(values[:, channel]), channel]
        if len(known):
            low, centre[channel], high = np.quantile(known, [0.25, 0.5, 0.75])
            # A channel that mostly rests has no quartile distance; one that never moves has no scale.
            spread[channel] = (high - low) / 1.349 or known.std() or 1.0
    return Scales(centre, spread)


def scales_from(state: State, name: str) -> Scales:
    """The scales of a state that may come from a stranger. Raises ConsilienceError where they are not sound."""
    arrays = [state.arrays.get(key) for key in ("centre", "spread")]
    sound = all(
        array is not None and array.dtype == np.float64 and array.ndim == 1 and np.isfinite(array).all() for array in arrays
    )
    centre, spread = arrays
    if not sound or centre is None or spread is None or not 0 < len(centre) == len(spread) <= CHANNELS or (spread <= 0).any():
        raise fail(f"the scales of a series {name} are damaged", "centre and spread of each channel", "train it again")
    return Scales(centre, spread)


def _evenly(count: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(count, _DRAWN)).astype(np.intp)
