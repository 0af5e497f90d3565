"""Annotation files that were made to do harm: each is a row with its reason, or what does not hold
is counted and left out; the good file beside them comes in whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from grand_pipeline.importers import values
from grand_pipeline.importers.grand import import_annotations
from grand_pipeline.importers.intake import Order
from grand_pipeline.importers.notes import Report
from tests.importers.outcomes import accidents, errors
from tests.importers.raw_world import DOG, HEIGHT, WIDTH, mask, write
from tests.importers.test_grand import newest

DEEP = "[" * 500 + "]" * 500
ENDLESS = "[" * 200_000


def said(**fields: Any) -> str:
    """An annotation with one object; the key of its image is put in later."""
    return json.dumps({"objects": [{"bbox": DOG, "id": 0, "labels": ["dog"]}], **fields})


def thing(**fields: Any) -> str:
    """An annotation whose only object has these fields."""
    return said(objects=[{"bbox": DOG, "id": 0, "labels": ["dog"], **fields}])


def runs(*counts: Any, size: tuple[Any, ...] = (HEIGHT, WIDTH)) -> str:
    return thing(segmentation={"size": list(size), "counts": list(counts)})


def coded(counts: str) -> str:
    return thing(segmentation={"size": [HEIGHT, WIDTH], "counts": counts})


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "utf-16": (said().encode("utf-16"), "is not UTF-8 text"),
    "latin": (b'{"objects": [], "landmark": "caf\xe9"}', "is not UTF-8 text"),
    "empty": ("", "is not valid JSON: Expecting value: line 1 column"),
    "cut": (said()[:-9], "is not valid JSON"),
    "nul": (said().replace("dog", "do\x00g"), "Invalid control character at: line 1 column"),
    "digits": (said(landmark=0).replace(": 0}", f": {'9' * 5000}}}"), "is not valid JSON: Exceeds"),
    "endless": (ENDLESS, "is not valid JSON: maximum recursion depth"),
    "deep": (said().replace('["dog"]', DEEP), "has lists or objects more than 32 deep"),
    "twice": ('{"objects": [], "objects": []}', "the key 'objects' stands twice in one object"),
    "list": ("[]", "should be an object, not a list"),
    "truth": ("true", "should be an object, not a truth"),
    "keys": ('{"\\ud800": 1, "' + "k" * 9000 + '": 2}', r"objects; keys: '\ud800', 'kkk"),
    "objects": (said(objects={"0": {}}), "'objects' should be a list, not an object"),
    "many": (said(objects=[{}] * 2001), "'objects' has 2,001 entries; up to 2,000 are read"),
    "details": (said(dense_caption={"caption": "x", "details": "x"}), "'details' should be a list"),
    "attributes": (thing(attributes=["x"] * 10_001), "10,001 attributes of one image"),
    "votes": (thing(labels=list(map(str, range(10_001)))), "10,001 labels of one image"),
    "uses": (said(affordances={str(n): {} for n in range(10_001)}), "10,001 affordances of one"),
    "large": (said(note="x" * values.IMAGE_BYTES), "is too large: files of up to 8,000,000 bytes"),
}  # fmt: skip
"""Case -> what stands under the image's name, or the file's bytes, and the reason of the row."""

COUNTED: dict[str, tuple[str, str]] = {
    "nan box": (thing(bbox=[float("nan")] * 4), "boxes that are not four numbers"),
    "endless box": (thing(bbox=[0, 0, 1e400, 5]), "boxes that are not four numbers"),
    "text box": (thing(bbox=["1", "2", "30", "40"]), "boxes that are not four numbers"),
    "truth box": (thing(bbox=[False, False, True, True]), "boxes that are not four numbers"),
    "long box": (thing(bbox=[0.0] * 100_000), "boxes that are not four numbers"),
    "inverted box": (thing(bbox=[90, 80, 10, 20]), "boxes that are empty or outside"),
    "far box": (thing(bbox=[1e30, 1e30, 2e30, 2e30]), "boxes that are empty or outside"),
    "negative box": (thing(bbox=[-9, -9, -1, -1]), "boxes that are empty or outside"),
    "huge box": (thing(bbox=[-(10**30), -0.0, 10**30, 1e38]), "boxes cut to the image"),
    "score": (thing(score=10**400), "scores that are no finite number"),
    "truth score": (thing(score=True), "scores that are no finite number"),
    "text score": (thing(score="0.9"), "scores that are no finite number"),
    "depth": (thing(depth=float("-inf")), "depths that are no finite number"),
    "short runs": (runs(5, 5), "masks that do not fit"),
    "negative runs": (runs(-1, HEIGHT * WIDTH + 1), "masks that do not fit"),
    "huge runs": (runs(10**12), "masks that do not fit"),
    "broken runs": (runs(0.5, HEIGHT * WIDTH - 0.5), "masks that do not fit"),
    "huge mask": (runs(10**24, size=(10**12, 10**12)), "masks that do not fit"),
    "wide mask": (runs(2**32, size=(2**31, 2)), "masks that do not fit"),
    "negative mask": (runs(4, size=(-2, -2)), "masks that do not fit"),
    "one-sided mask": (runs(4, size=(4,)), "masks that do not fit"),
    "polygon": (thing(segmentation=[[3, 3]]), "masks that do not fit"),
    "long polygon": (thing(segmentation=[[1.5] * 300_000]), "masks that do not fit"),
    # 100 zero bits and then one: other readers of COCO masks take the rest of a division for it.
    "long code": (coded("P" * 100 + "1"), "masks that do not fit"),
    "foreign code": (coded("~~~"), "masks that do not fit"),
    "open code": (coded("oooo"), "masks that do not fit"),
    "id": (thing(id=2**40), "objects with no id of their own"),
    "truth id": (thing(id=True), "objects with no id of their own"),
    "twice an id": (said(objects=json.loads(thing())["objects"] * 2), "objects with no id of"),
    "long label": (thing(labels=["(", "(" * 300_000]), "labels of more than 1000 characters"),
    "half a letter": (thing(labels=["\ud800dog"]), "labels with broken characters"),
    "half a place": (said(landmark={"category": "\udfff sea"}), "landmarks with broken characters"),
    "half a speaker": (said(captions={"\ud800": "a dog"}), "captioners with broken characters"),
    "no speaker": (thing(attributes=[" " * 900 + "!"]), ""),
    "long caption": (said(captions=["dog " * 9000]), "captions of more than 20000 characters"),
    "long context": (said(additional_context="x" * 20_001), "contexts of more than 20000"),
    "offsets": (
        said(dense_caption={"caption": "e\u0301 a dog", "details": [
            {"phrase": "dog", "tokens_positive": [-(10**20), 10**20], "ids": [0]},
            {"phrase": "\u0301", "tokens_positive": [1, 2], "ids": [0]},
            {"phrase": "cat", "tokens_positive": [4, 7], "ids": [0]}]}),
        "phrases that their caption does not hold",
    ),
    "no such object": (
        said(relationships={"grounding": [{"phrase": "dog", "object_ids": [-1, 7, True, "0"]}]}),
        "references to objects that do not exist",
    ),
}  # fmt: skip
"""Case -> what stands under the image's name, and what the report counts."""


@dataclass(frozen=True)
class Brought:
    """An import of all cases at once."""

    run: Path
    report: Report
    errors: dict[str, str | None]
    rows: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Brought:
    folder = tmp_path_factory.mktemp("hostile")
    cases = {case: content for case, (content, _) in (REFUSED | COUNTED).items()}
    (folder / "said").mkdir()
    for case, content in cases.items():
        whole = content if isinstance(content, bytes) else f'{{"{case}": {content}}}'.encode()
        (folder / "said" / f"{case}.json").write_bytes(whole)
    write(folder / "said" / "good.json", {"good": newest()})
    run = folder / "run"
    report = import_annotations([folder / "said"], Order(run))
    rows = pq.read_table(run / "annotations").to_pylist()
    return Brought(run, report, errors(run, "grand"), {row["uri"]: row for row in rows})


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_a_file_that_can_not_be_read_is_a_row_that_says_why(brought: Brought, case: str) -> None:
    error = brought.errors[case]
    assert error is not None and REFUSED[case][1] in error and f"{case}.json" in error
    assert len(error) < 600
    assert brought.rows[case]["errors"] == [{"stage": "imported.grand", "message": error}]


@pytest.mark.parametrize("case", sorted(COUNTED))
def test_what_does_not_hold_is_counted(brought: Brought, case: str) -> None:
    assert brought.errors[case] is None
    what = COUNTED[case][1]
    assert not what or any(name.startswith(what) for name in brought.report.changed.counts)
    for found in brought.rows[case]["objects"]:
        assert found["mask"] is None
        x1, y1, x2, y2 = found["box"]
        assert 0 <= x1 < x2 < 2e8 and 0 <= y1 < y2 < 2e8


def test_nothing_was_raised_by_accident_and_the_good_file_is_whole(brought: Brought) -> None:
    assert accidents(brought.run, "grand") == []
    assert brought.report.failed == len(REFUSED)
    assert len(brought.rows["good"]["objects"]) == 3
    assert brought.rows["good"]["objects"][0]["mask"] == mask(DOG)


def test_more_than_memory_should_hold_is_never_read(tmp_path: Path) -> None:
    (tmp_path / "said").mkdir()
    with (tmp_path / "said" / "huge.json").open("wb") as file:
        file.write(b'{"huge": "')
        file.truncate(values.FILE_BYTES + 1)
    report = import_annotations([tmp_path / "said"], Order(tmp_path / "run"))
    assert report.failed == 1
    error = errors(tmp_path / "run", "grand")["huge"]
    assert error is not None and "is too large: files of up to 67,108,864 bytes are read" in error
