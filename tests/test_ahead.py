from __future__ import annotations

import threading
from collections.abc import Sequence

from PIL import Image

from grand_pipeline import ahead
from grand_pipeline.record import Record

PICTURE = Image.new("RGB", (2, 2))


def test_images_are_decoded_by_several_threads_at_once() -> None:
    meeting = threading.Barrier(3)

    def opened() -> Image.Image:
        meeting.wait(timeout=30)  # raises unless three are here at the same time
        return PICTURE

    records = [Record(str(n), "", 2, 2, {}, opened) for n in range(3)]
    assert ahead.decoded(records, threads=3) == records
    assert not meeting.broken
    assert all(one.image is PICTURE for one in records), "nothing is opened again"


def test_a_file_that_can_not_be_opened_is_no_failure_yet() -> None:
    tried: list[int] = []

    def broken() -> Image.Image:
        tried.append(1)
        raise OSError("no picture")

    good, bad = Record("0", "", 2, 2, {}, lambda: PICTURE), Record("1", "", 2, 2, {}, broken)
    assert ahead.decoded([bad, good], threads=0) == [bad, good]
    assert tried == [1] and good.image is PICTURE


def test_one_batch_is_made_ready_while_another_is_in_use() -> None:
    ready = [threading.Event() for _ in range(3)]

    def prepare(batch: Sequence[int]) -> list[Record]:
        ready[batch[0]].set()
        return [Record(str(n), "", 1, 1, {}, lambda: PICTURE) for n in batch]

    coming = ahead.prepared(prepare, [[0], [1], [2]])
    assert next(coming)[0].image_id == "0"
    assert ready[1].wait(timeout=30), "the next batch is under way"
    assert not ready[2].is_set(), "and no further one"
    assert [batch[0].image_id for batch in coming] == ["1", "2"]
    assert list(ahead.prepared(prepare, [])) == []
