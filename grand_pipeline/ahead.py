"""The next batch is made ready in threads while the one before it is in use."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor

from grand_pipeline.record import Record


def prepared(
    prepare: Callable[[Sequence[int]], list[Record]], batches: Sequence[Sequence[int]]
) -> Generator[list[Record], None, None]:
    """`prepare` of every batch in order, the next one under way while this one is in use.

    One batch ahead and no more: decoded photographs fill memory fast.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead") as thread:
        coming = deque(thread.submit(prepare, batch) for batch in batches[:1])
        for following in [*batches[1:], None][: len(batches)]:
            if following is not None:
                coming.append(thread.submit(prepare, following))
            yield coming.popleft().result()


def decoded(records: list[Record], threads: int) -> list[Record]:
    """The records, their images decoded by so many threads.

    A failure is not lost: the access inside `annotate` raises again, for this image alone.
    """
    with ThreadPoolExecutor(max(1, threads), thread_name_prefix="decode") as pool:
        list(pool.map(_touch, records))
    return records


def _touch(record: Record) -> None:
    with contextlib.suppress(Exception):
        _ = record.image
