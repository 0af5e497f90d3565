from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from grand_pipeline.columns import Annotation
from grand_pipeline.store import ANNOTATIONS, Run
from grand_pipeline.types import Vote
from grand_pipeline.viewer.listing import listing
from grand_pipeline.viewer.search import Filter, State, facets, page
from tests.training.data.made import write_run
from tests.viewer.runs import seen_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return seen_run(tmp_path_factory.mktemp("seen"))


def _numbers(run: Run, asked: Filter, start: int = 0, limit: int = 50) -> list[int]:
    return [item["number"] for item in page(listing(run), asked, start, limit, 60).items]


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        (Filter(), [0, 1, 2, 3, 4, 5]),
        (Filter(label="BALL"), [0, 2, 3, 4]),
        (Filter(label="bal"), []),
        (Filter(text="Red BALL"), [0, 1, 2, 3, 4]),
        (Filter(text="<SCRIPT>"), [1]),
        (Filter(text="\N{GRINNING FACE}"), [1]),
        (Filter(text="00003.PNG"), [3]),
        (Filter(text="Secret.txt"), [5]),
        (Filter(source="eye"), [1]),
        (Filter(state="failed"), [2]),
        (Filter(state="unreadable"), [5]),
        (Filter(state="annotated"), [0, 1, 3, 4]),
        (Filter(label="box", text="ball", state="annotated"), [0, 1, 4]),
        (Filter(label="box", state="unreadable"), []),
    ],
)
def test_filters(run: Run, asked: Filter, numbers: list[int]) -> None:
    assert _numbers(run, asked) == numbers


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("asked", [Filter(), Filter(label="ball"), Filter(state="pending")])
def test_pages_hold_every_picture_once(tmp_path: Path, asked: Filter, limit: int) -> None:
    run = write_run(tmp_path, [3, 4, 2])
    run.discard(ANNOTATIONS, "00001")
    pages, start = [], 0
    while start is not None:
        found = page(listing(run), asked, start, limit, 60)
        pages.append([item["number"] for item in found.items])
        start = found.after
    expected: dict[State | None, list[int]] = {None: list(range(9)), "pending": [3, 4, 5, 6]}
    wanted = [0, 1, 2, 7, 8] if asked.label else expected[asked.state]
    assert [number for numbers in pages for number in numbers] == wanted
    assert all(len(numbers) == limit for numbers in pages[:-1])


def test_a_page_ends_when_its_time_is_up_and_the_next_goes_on(tmp_path: Path) -> None:
    run = write_run(tmp_path, [2, 2, 2], change=_only_last)
    found = page(listing(run), Filter(label="whale"), 0, 10, seconds=0)
    assert (found.items, found.after) == ((), 2)
    assert _numbers(run, Filter(label="whale"), start=2) == [5]


def _only_last(row: Annotation) -> Annotation:
    if not row.uri.endswith("5.png"):
        return row
    return replace(row, objects=(replace(row.objects[0], label="Whale"),))


def test_labels_and_voters_are_counted_as_far_as_time_allows(tmp_path: Path) -> None:
    def voted(row: Annotation) -> Annotation:
        first = replace(row.objects[0], votes=(Vote("a", "ball", 1.0), Vote("b", "ball", None)))
        return replace(row, objects=(first, row.objects[1]))

    run = write_run(tmp_path, [2, 3], change=voted)
    told = facets(listing(run), seconds=60)
    assert told == {
        "labels": [("ball", 5), ("box", 5)],
        "sources": [("a", 5), ("b", 5)],
        "whole": True,
    }
    assert facets(listing(run), seconds=-1)["whole"] is False
    run.discard(ANNOTATIONS, "00001")
    assert facets(listing(run), seconds=60)["labels"] == [("ball", 2), ("box", 2)]


def test_a_card_says_what_the_grid_shows(run: Run) -> None:
    first, failed, lost = (page(listing(run), Filter(), n, 1).items[0] for n in (0, 2, 5))
    assert first["labels"] == [("ball", 1), ("box", 1)]
    assert first["text"].endswith("right here.") and first["state"] == "annotated"
    assert (failed["state"], failed["failed"]) == ("failed", ["depth"])
    assert (lost["state"], lost["objects"], lost["text"]) == ("unreadable", 0, "")
