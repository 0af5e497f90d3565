"""The order of the rows in an epoch, and who reads which.

Row groups are shuffled over the whole run, then rows within windows of several groups, so that an
epoch reads every file a few times and holds one window in memory. The order depends on seed, epoch
and window alone: not on the number of ranks or workers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from grand_pipeline.errors import RunError
from training.data.source import Numbers, Rows

WINDOW = 1024
"""Rows that are shuffled together, and in memory at once."""


GROUPS, WITHIN, SAMPLE = 1, 2, 3
"""What a generator is for. Never 0: numpy gives (5, 1) and (5, 1, 0) the same numbers."""


def generator(seed: int, epoch: int, number: int, purpose: int) -> Generator:
    """The generator of a window or of a sample; those of two purposes have nothing in common."""
    return np.random.default_rng((seed, epoch, number, purpose))


@dataclass(frozen=True)
class Position:
    """How far training is: in `epoch`, `index` rows have been used by all ranks together."""

    epoch: int = 0
    index: int = 0


@dataclass(frozen=True)
class Order:
    """The order of one epoch: per window its row groups (rising), and where in the order it ends.

    `firsts` (g + 1,) are places in `rows.kept` where the row groups begin.
    """

    windows: tuple[tuple[int, ...], ...] = field(repr=False)
    ends: Numbers = field(repr=False)
    firsts: Numbers = field(repr=False)
    seed: tuple[int, int] | None

    def __len__(self) -> int:
        return int(self.ends[-1])

    def window_of(self, index: int) -> int:
        """The window that holds place `index` of the order."""
        return int(np.searchsorted(self.ends, index, side="right"))

    def numbers(self, rows: Rows, window: int) -> Numbers:
        """Numbers of the rows of a window, in the order in which they are used."""
        held = [rows.kept[self.firsts[g] : self.firsts[g + 1]] for g in self.windows[window]]
        numbers = np.concatenate(held)
        if self.seed is None:
            return numbers
        return generator(*self.seed, window, WITHIN).permutation(numbers)


def shuffled(rows: Rows, seed: int, epoch: int, window: int = WINDOW) -> Order:
    """The order of a training epoch."""
    groups = generator(seed, epoch, 0, GROUPS).permutation(len(rows.groups))
    return _order(rows, groups, window, (seed, epoch))


def straight(rows: Rows, window: int = WINDOW) -> Order:
    """Every row in the order of the run, as evaluation reads it."""
    return _order(rows, np.arange(len(rows.groups)), window, None)


def steps_per_epoch(rows: Rows, size: int, world: int = 1) -> int:
    """Batches that every rank takes in an epoch, each of `size` rows.

    The last rows of the order that do not fill a batch on every rank are dropped; in the next epoch
    they are others. Raises RunError when not even one batch is full.
    """
    steps = len(rows) // (size * world)
    if not steps:
        raise RunError(
            f"run '{rows.run}' has {len(rows)} rows to train on, less than one batch of {size} on "
            f"each of {world} ranks: build a larger run or take smaller batches"
        )
    return steps


def _order(rows: Rows, groups: Numbers, window: int, seed: tuple[int, int] | None) -> Order:
    bounds = np.array(
        [g.first for g in rows.groups] + [rows.groups[-1].first + rows.groups[-1].rows]
    )
    firsts = np.searchsorted(rows.kept, bounds)
    sizes = np.diff(firsts)[groups]
    groups, sizes = groups[sizes > 0], sizes[sizes > 0]
    before = np.cumsum(sizes) - sizes
    cuts = np.flatnonzero(np.diff(before // window)) + 1
    windows = tuple(tuple(sorted(held.tolist())) for held in np.split(groups, cuts))
    ends = np.cumsum([part.sum() for part in np.split(sizes, cuts)])
    return Order(windows, ends, firsts, seed)
