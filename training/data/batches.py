"""Batches of samples, made in worker processes, resumable at any step.

A batch depends on (seed, epoch, index) alone, so it is the same with any number of workers and
after any number of interruptions. With `world` ranks, step t takes the rows [t, t + 1) * world *
size of the epoch's order, cut among the ranks: two ranks with batches of 8 see together what one
rank with batches of 16 sees.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from numpy.random import Generator

from grand_pipeline.errors import GrandError, ImageError, RunError
from training.data import order, source
from training.data.order import WINDOW, Order, Position
from training.data.rows import Row
from training.data.source import Block, Numbers, Rows

S = TypeVar("S")
B = TypeVar("B")

Build = Callable[[Row, Generator], S | None]
"""A row as a sample, or None where the row is of no use. Picklable where there are workers."""

_TRIES = 100


@dataclass(frozen=True)
class Skipped:
    """A row that gave no sample; `reason` is null where `build` said so, else the picture's."""

    image_id: str
    uri: str
    reason: str | None


Report = Callable[[Skipped], None]


@dataclass(frozen=True)
class _Ask:
    """The batch to make: places [start, stop) of an epoch's order."""

    epoch: int
    start: int
    stop: int


@dataclass(frozen=True)
class _Made:
    """What a worker made: a batch (None: no sample), the rows left out, or why there is none."""

    batch: Any
    skipped: tuple[Skipped, ...]
    error: GrandError | None = None


def batches(
    run: Rows,
    build: Build[S],
    collate: Callable[[list[S]], B],
    size: int,
    *,
    seed: int = 0,
    position: Position | None = None,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    window: int = WINDOW,
    report: Report | None = None,
) -> Iterator[tuple[Position, B]]:
    """Training batches of `size` samples without end, with the position to resume at after each.

    Every row is used at most once per epoch, by one rank; all ranks take the same number of steps
    (`order.steps_per_epoch`). A row without a sample is replaced by another of its window, drawn by
    its own generator, so batches are always full. `report` is told of every such row; without it
    a picture that can not be read is an error. `workers` are processes; 0 works in this one.

    Raises RunError for a position outside of the epoch, when a hundred rows in turn give no
    sample, and when there are fewer rows than one batch per rank takes; ImageError as said.
    """
    steps = order.steps_per_epoch(run, size, world)
    begun = position or Position()
    whole = steps * size * world
    if begun.index % (size * world) or not 0 <= begun.index < whole:
        raise RunError(
            f"position {begun.index} is no step of an epoch of {steps} batches of {size} on "
            f"{world} ranks: resume with the batch size and the ranks that it was saved with"
        )

    asks = (
        _Ask(at.epoch, at.index + rank * size, at.index + (rank + 1) * size)
        for at in _positions(begun, size * world, whole)
    )
    maker = _Maker(run, build, collate, window, seed, report is not None)
    after = itertools.islice(_positions(begun, size * world, whole), 1, None)
    return zip(after, _made(maker, asks, workers, report), strict=False)


def once(
    run: Rows,
    build: Build[S],
    collate: Callable[[list[S]], B],
    size: int,
    *,
    seed: int = 0,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    report: Report | None = None,
) -> Iterator[B]:
    """Every row once over all ranks, in the order of the run, for evaluation.

    Rows without a sample are left out, so batches may be smaller; ranks may differ by a batch, so
    nothing that waits for all ranks belongs in the loop. Generators are seeded as in epoch 0.
    Errors as in `batches`.
    """
    asks = (
        _Ask(-1, start, min(start + size, len(run)))
        for start in range(rank * size, len(run), world * size)
    )
    maker = _Maker(run, build, collate, WINDOW, seed, report is not None)
    return (batch for batch in _made(maker, asks, workers, report) if batch is not None)


def every(run: Rows) -> list[Row]:
    """All rows in the order of the run, for evaluations that hold them all. Errors as in `once`."""
    return list(itertools.chain.from_iterable(once(run, _itself, list, WINDOW)))


def _itself(row: Row, rng: Generator) -> Row:
    return row


def _positions(begun: Position, step: int, whole: int) -> Iterator[Position]:
    """Where each step begins; an epoch has `whole` rows."""
    epoch, index = begun.epoch, begun.index
    while True:
        yield Position(epoch, index)
        index += step
        if index >= whole:
            epoch, index = epoch + 1, 0


@dataclass
class _Maker(Generic[S, B]):
    """Makes any batch asked for; lives in each worker and keeps the windows it read last."""

    run: Rows
    build: Build[S]
    collate: Callable[[list[S]], B]
    window: int
    seed: int
    lenient: bool
    orders: dict[int, Order] = field(default_factory=dict)
    blocks: dict[tuple[int, int], tuple[Block, Numbers]] = field(default_factory=dict)

    def __getitem__(self, ask: _Ask) -> _Made:
        skipped: list[Skipped] = []
        try:
            samples = list(self._samples(ask, skipped))
            return _Made(self.collate(samples) if samples else None, tuple(skipped))
        except GrandError as error:
            # As a value, or the loader would wrap it in the worker's traceback.
            return _Made(None, tuple(skipped), error)

    def _samples(self, ask: _Ask, skipped: list[Skipped]) -> Iterator[S]:
        epoch = self._order(ask.epoch)
        index = ask.start
        while index < ask.stop:
            window = epoch.window_of(index)
            block, numbers = self._block(ask.epoch, window)
            begin = int(epoch.ends[window]) - len(numbers)
            stop = min(ask.stop, int(epoch.ends[window]))
            wanted = numbers[index - begin : stop - begin]
            for place, row in enumerate(source.rows_of(self.run, block, wanted), start=index):
                rng = order.generator(self.seed, max(ask.epoch, 0), place, order.SAMPLE)
                sample = self._sample(row, rng, skipped)
                if sample is None and ask.epoch >= 0:
                    sample = self._other(block, numbers, rng, skipped)
                if sample is not None:
                    yield sample
            index = stop

    def _sample(self, row: Row, rng: Generator, skipped: list[Skipped]) -> S | None:
        reason = None
        try:
            sample = self.build(row, rng)
        except ImageError as error:
            if not self.lenient:
                raise ImageError(f"image {row.image_id} ('{row.uri}'): {error}") from None
            sample, reason = None, str(error)
        except Exception as error:
            error.add_note(f"while a sample was made of image {row.image_id} ('{row.uri}')")
            raise
        if sample is None:
            skipped.append(Skipped(row.image_id, row.uri, reason))
        return sample

    def _other(self, block: Block, numbers: Numbers, rng: Generator, skipped: list[Skipped]) -> S:
        """A sample of another row of the window."""
        for _ in range(_TRIES):
            drawn = rng.choice(numbers, 1)
            sample = self._sample(source.rows_of(self.run, block, drawn)[0], rng, skipped)
            if sample is not None:
                return sample
        raise RunError(
            f"{_TRIES} rows in turn of run '{self.run.run}' gave no sample, the last one image "
            f"{skipped[-1].image_id} ({skipped[-1].reason or 'the recipe has no use for it'})"
        )

    def _order(self, epoch: int) -> Order:
        if epoch not in self.orders:
            self.orders.clear()
            self.orders[epoch] = (
                order.straight(self.run, self.window)
                if epoch < 0
                else order.shuffled(self.run, self.seed, epoch, self.window)
            )
        return self.orders[epoch]

    def _block(self, epoch: int, window: int) -> tuple[Block, Numbers]:
        key = epoch, window
        if key not in self.blocks:
            found = self._order(epoch)
            self.blocks.clear()
            self.blocks[key] = (
                source.load(self.run, found.windows[window]),
                found.numbers(self.run, window),
            )
        return self.blocks[key]


def _made(
    maker: _Maker[Any, Any], asks: Iterator[_Ask], workers: int, report: Report | None
) -> Iterator[Any]:
    """The batches asked for, in order; rows left out are reported, errors raised."""
    for made in _parallel(maker, asks, workers) if workers else (maker[ask] for ask in asks):
        if report is not None:
            for skipped in made.skipped:
                report(skipped)
        if made.error is not None:
            raise made.error
        yield made.batch


def _parallel(maker: _Maker[Any, Any], asks: Iterator[_Ask], workers: int) -> Iterator[_Made]:
    import torch
    from torch.utils.data import DataLoader

    # Its own generator: the loader would draw from torch's global one, and a resumed training
    # would go on with other numbers than an uninterrupted one.
    loader: DataLoader[Any] = DataLoader(
        maker,  # type: ignore[arg-type]  # anything with __getitem__ serves a sampler's keys
        batch_size=None,
        sampler=_Asks(asks),
        num_workers=workers,
        generator=torch.Generator().manual_seed(0),
    )
    return iter(loader)


@dataclass(frozen=True)
class _Asks:
    """What the loader takes for a sampler."""

    asks: Iterator[_Ask]

    def __iter__(self) -> Iterator[_Ask]:
        return self.asks
