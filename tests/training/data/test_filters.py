from __future__ import annotations

from pathlib import Path

import pytest

from grand_pipeline.errors import SettingsError
from grand_pipeline.types import Box
from training.data.filters import (
    HeldOut,
    Rules,
    filtered,
    held_out,
    normalized,
    read_held_out,
)
from training.data.views import Region


def region(text: str, box: Box = (0, 0, 50, 50)) -> Region:
    return Region(box, text, "object", (0,))


def test_rules_drop_in_order_and_are_counted() -> None:
    regions = [
        region("a red ball on the green grass"),
        region("negative", (-1, 0, 50, 50)),
        region("outside", (0, 0, 101, 50)),
        region("empty", (10, 10, 10, 50)),
        region("tiny", (0, 0, 9.9, 10)),
        region("one percent", (0, 0, 10, 10)),
        region("Red ball, on the green grass!"),
        region("a red ball"),
        region("?!"),
        region("something else"),
    ]
    found = filtered(regions, (100, 100))
    assert [r.text for r in found.kept] == [
        *("a red ball on the green grass", "one percent"),
        *("a red ball", "something else"),
    ]
    assert found.dropped == {"box": 3, "area": 1, "text": 2}
    few = filtered(regions, (100, 100), Rules(most=1))
    assert [r.text for r in few.kept] == ["a red ball on the green grass"]
    assert few.dropped["most"] == 3
    loose = filtered(regions, (100, 100), Rules(min_area=0, overlap=1.0))
    assert loose.dropped == {"box": 3, "text": 1}


def test_three_of_four_words_are_not_more_than_three_quarters() -> None:
    assert len(filtered([region("a b c d"), region("a b c")], (100, 100)).kept) == 2
    assert len(filtered([region("a b c d e"), region("a b c d")], (100, 100)).kept) == 1


def test_texts_as_x_vlm_reads_them() -> None:
    assert normalized("A well-lit/dark Room, (really).") == "a well lit dark room really"
    assert normalized("one two three", 2) == "one two"


def test_images_are_held_out_by_content_number_or_name(tmp_path: Path) -> None:
    digest = "0123456789ABCDEF" * 4
    file = tmp_path / "held"
    file.write_text(f"# evaluation\n{digest}\n\n42\n000000000043\nflickr 7.jpg\n")
    held = read_held_out(file)
    assert held == HeldOut(
        frozenset({digest[:32].lower()}), frozenset({42, 43}), frozenset({"flickr 7.jpg"})
    )
    assert held(digest[:32].lower(), "/a/b.jpg")
    assert held("0", "/coco/COCO_val2014_000000000042.jpg")
    assert held("0", "s3://bucket/train2017/000000000043.jpg")
    assert held("0", "file:///x/flickr%207.jpg")
    assert not held("0", "/x/000000000044.jpg")
    assert not held("0", "/x/42.jpg"), "a number that is no COCO name"
    assert (held_out(["44"]) | held)("0", "/x/000000000044.jpg")
    with pytest.raises(SettingsError, match=r"held-out images '.*nothing' can not be read"):
        read_held_out(tmp_path / "nothing")
