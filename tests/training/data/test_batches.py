from __future__ import annotations

import itertools
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator

from grand_pipeline.errors import ImageError, RunError
from tests.training.data.made import add_shard, picture, write_run
from training.data import order, transforms, views
from training.data.batches import Skipped, batches, every, once
from training.data.order import Position
from training.data.rows import Row
from training.data.source import Group, Numbers, Rows


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    root = tmp_path_factory.mktemp("batches")
    return views.require(write_run(root, [100, 3, 70]).root, views.detection)


def number(row: Row, rng: Generator) -> tuple[int, float, int]:
    """Which picture it is, a number drawn for it, and the sum of an augmented view."""
    seen = transforms.random_flip(transforms.random_resized_crop(row, rng, (8, 8)), rng)
    return int(Path(row.uri).stem), float(rng.random()), int(seen.pixels().sum())


def place(row: Row, rng: Generator) -> int:
    return int(Path(row.uri).stem)


def gathered(samples: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(samples)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_training_sees_what_an_uninterrupted_one_sees(run: Rows, workers: int) -> None:
    whole = list(itertools.islice(batches(run, number, gathered, 16, seed=3), 25))
    assert len({position for position, _ in whole}) == 25
    assert whole[9][0] == Position(1, 0), "173 rows are ten batches of 16"
    for done in (4,) if workers else (0, 4, 10, 17):
        position = whole[done - 1][0] if done else Position()
        found = batches(run, number, gathered, 16, seed=3, position=position, workers=workers)
        assert list(itertools.islice(found, 5)) == whole[done : done + 5]


def test_an_epoch_uses_rows_once_and_each_epoch_has_its_own_order(run: Rows) -> None:
    made = [batch for _, batch in itertools.islice(batches(run, place, gathered, 16, seed=3), 20)]
    first, second = (list(itertools.chain(*made[at : at + 10])) for at in (0, 10))
    assert len(set(first)) == len(set(second)) == 160
    assert first != second
    assert set(range(173)) - set(first) != set(range(173)) - set(second)
    other = batches(run, place, gathered, 16, seed=4)
    assert next(other)[1] != made[0]


def test_two_ranks_see_together_what_one_sees_with_twice_the_batch(run: Rows) -> None:
    one = itertools.islice(batches(run, number, gathered, 16, seed=1), 12)
    ranks = [batches(run, number, gathered, 8, seed=1, rank=r, world=2) for r in (0, 1)]
    for (position, batch), (mine, left), (theirs, right) in zip(one, *ranks, strict=False):
        assert position == mine == theirs
        assert (*left, *right) == batch


def rows_of(sizes: Sequence[int], kept: Numbers) -> Rows:
    firsts = np.cumsum([0, *sizes])
    groups = tuple(Group("00000", n, int(firsts[n]), size) for n, size in enumerate(sizes))
    return Rows("made", frozenset(), groups, kept, False, 0, 0, "")


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=20),
    st.integers(0, 5),
    st.integers(1, 30),
    st.data(),
)
@settings(max_examples=50)
def test_an_order_holds_every_kept_row_once(
    sizes: list[int], seed: int, window: int, data: st.DataObject
) -> None:
    total = sum(sizes)
    kept = np.array(sorted(data.draw(st.sets(st.integers(0, total - 1), min_size=1))), np.int64)
    rows = rows_of(sizes, kept)
    for made in (order.shuffled(rows, seed, 2, window), order.straight(rows, window)):
        found = np.concatenate([made.numbers(rows, w) for w in range(len(made.windows))])
        assert len(found) == len(made) == len(kept)
        assert sorted(found.tolist()) == kept.tolist()
        for index in range(len(made)):
            held = made.window_of(index)
            begin = int(made.ends[held - 1]) if held else 0
            assert begin <= index < made.ends[held]
            assert found[index] == made.numbers(rows, held)[index - begin]
        widest = max(len(made.numbers(rows, w)) for w in range(len(made.windows)))
        assert widest <= window + max(sizes)
    straight = order.straight(rows, window)
    assert (
        np.concatenate([straight.numbers(rows, w) for w in range(len(straight.windows))]).tolist()
        == kept.tolist()
    )


@given(st.integers(1, 5), st.integers(1, 40))
@settings(max_examples=10)
def test_evaluation_covers_every_row_exactly_once(run: Rows, world: int, size: int) -> None:
    seen: list[int] = []
    counts = []
    for rank in range(world):
        made = list(once(run, place, gathered, size, rank=rank, world=world))
        seen += [number for batch in made for number in batch]
        counts.append(len(made))
    assert sorted(seen) == list(range(173))
    assert max(counts) - min(counts) <= 1


def test_evaluation_with_workers_keeps_the_order(run: Rows) -> None:
    made = list(once(run, place, gathered, 10, workers=2))
    assert list(itertools.chain(*made)) == list(range(173))


def even(row: Row, rng: Generator) -> int | None:
    number = place(row, rng)
    return None if number % 2 else number


def nothing(row: Row, rng: Generator) -> int | None:
    return None


def test_every_row_is_held_in_the_order_of_the_run(run: Rows) -> None:
    assert [row.image_id for row in every(run)] == [
        one for part in once(run, lambda row, rng: row.image_id, list, 50) for one in part
    ]
    assert len(every(run)) == len(run)


def test_rows_without_a_sample_are_replaced_and_told(run: Rows) -> None:
    told: list[Skipped] = []
    made = list(itertools.islice(batches(run, even, gathered, 16, report=told.append), 10))
    assert all(len(batch) == 16 for _, batch in made)
    numbers = list(itertools.chain(*(batch for _, batch in made)))
    assert all(n % 2 == 0 for n in numbers)
    assert told and all(skip.reason is None for skip in told)
    again = list(itertools.islice(batches(run, even, gathered, 16, workers=1), 10))
    assert again == made
    assert list(itertools.chain(*once(run, even, gathered, 16))) == list(range(0, 173, 2))
    with pytest.raises(RunError, match=r"100 rows in turn .* \(the recipe has no use for it\)"):
        next(batches(run, nothing, gathered, 16))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_picture_is_an_error_that_names_it_or_is_told(
    tmp_path: Path, workers: int
) -> None:
    rows = views.require(write_run(tmp_path, [20]).root, views.detection)
    broken = tmp_path / f"{7:012d}.png"
    broken.write_bytes(broken.read_bytes()[:500])
    with pytest.raises(ImageError, match=r"image [0-9a-f]{32} \('.*000000000007.png'\): damaged"):
        list(itertools.islice(batches(rows, number, gathered, 10, workers=workers), 2))
    told: list[Skipped] = []
    made = batches(rows, number, gathered, 10, workers=workers, report=told.append)
    numbers = [item[0] for _, batch in itertools.islice(made, 2) for item in batch]
    assert len(numbers) == 20 and 7 not in numbers
    assert {(skip.uri, (skip.reason or "")[:7]) for skip in told} == {(str(broken), "damaged")}
    told.clear()
    covered = itertools.chain(*once(rows, number, gathered, 6, report=told.append))
    assert Counter(item[0] for item in covered) == Counter(set(range(20)) - {7})
    assert len(told) == 1


def failing(row: Row, rng: Generator) -> int | None:
    raise ZeroDivisionError(place(row, rng))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_mistake_in_a_recipe_names_the_image(run: Rows, workers: int) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        next(batches(run, failing, gathered, 16, workers=workers))
    told = "".join(traceback.format_exception(caught.value))
    assert "while a sample was made of image" in told


def test_reading_loads_nothing_heavy() -> None:
    code = (
        "import sys, training.config, training.data.batches, training.data.filters\n"
        "print(*[name for name in ('torch', 'ray', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_positions_and_sizes_that_do_not_fit_are_refused_at_once(run: Rows) -> None:
    with pytest.raises(RunError, match="173 rows to train on, less than one batch of 100 on each"):
        batches(run, place, gathered, 100, world=2)
    for index in (8, 160, -16):
        with pytest.raises(RunError, match="resume with the batch size and the ranks"):
            batches(run, place, gathered, 16, position=Position(0, index))


def test_embedded_pictures_need_no_files(tmp_path: Path) -> None:
    rows = views.require(write_run(tmp_path, [70, 5], embed=True).root, views.detection)
    assert rows.embedded

    def same(row: Row, rng: Generator) -> bool:
        return bool(np.array_equal(row.pixels(), np.asarray(picture(place(row, rng)))))

    assert not list(tmp_path.glob("*.png"))
    made = itertools.islice(batches(rows, same, gathered, 15), 5)
    assert all(all(batch) for _, batch in made)


def test_torch_draws_the_same_numbers_whether_or_not_batches_are_read(run: Rows) -> None:
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    next(batches(run, place, gathered, 16, workers=1))
    assert torch.equal(torch.rand(3), expected)


def test_shards_that_come_later_are_no_part_of_an_opened_run(tmp_path: Path) -> None:
    made = write_run(tmp_path, [20])
    rows = views.require(made.root, views.detection)
    before = list(itertools.islice(batches(rows, place, gathered, 10), 4))
    (made.root / "annotations" / ".tmp-00001-0").write_bytes(b"half a file")
    add_shard(made, tmp_path, [20, 21])
    assert list(itertools.islice(batches(rows, place, gathered, 10), 4)) == before
    grown = views.require(made.root, views.detection)
    assert len(grown) == 22
    assert grown.digest != rows.digest
    assert views.require(made.root, views.detection).digest == grown.digest


def test_samples_and_windows_draw_other_numbers(run: Rows) -> None:
    drawn = next(batches(run, lambda row, rng: float(rng.random()), gathered, 16))[1]
    purposes = (order.GROUPS, order.WITHIN)
    others = {order.generator(0, 0, n, p).random() for n in range(16) for p in (0, *purposes)}
    assert not others & set(drawn)
    assert len(set(drawn)) == 16
