"""What holds for every stage that runs a model and every architecture behind it.

`backends` is the table; each test here is one property. What a stage makes of what its model says
is in the tests of the stage.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from grand_pipeline import geometry, images, worker
from grand_pipeline.catalog import STAGES, stage_class
from grand_pipeline.errors import SettingsError
from grand_pipeline.plan import Step
from grand_pipeline.record import Record
from grand_pipeline.stage import Stage
from grand_pipeline.types import DepthMap, Rle, Size
from stages import detector, grounders, vlm
from stages.hub import Dtype, preprocessor
from stages.level1.open_detection import OpenDetection
from stages.level1.tags import Tags
from tests.stages.backends import NOT_TORCH, Case, cases
from tests.tiny import ram
from tests.tiny.records import ODD_SIZES, inside, record

CASES = {case.key: case for case in cases()}
SIZES: tuple[Size, ...] = ((40, 60), (60, 40), (40, 60), *ODD_SIZES)
HUGE: Size = (6000, 4000)
NEAR = 2e-3
"""How far numbers of an image alone and in a batch of eight may be apart: of probabilities as they
are, of a side of a box per pixel of the image's longer side, of depth per largest depth."""
PIXELS = 0.02
"""Share of an image's pixels in which two masks of one thing may differ for the same reason."""

LONG = tuple(
    f"{color} {thing} {n}"
    for color in ["red", "green", "blue"]
    for thing in ["cat", "dog"]
    for n in range(20)
)
LISTED = {
    key: case
    for key, case in CASES.items()
    if case.stage is OpenDetection or (case.stage is Tags and case.name not in ram.KINDS)
}

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@cache
def live_of(key: str, dtype: Dtype = "float32") -> Any:
    return CASES[key].live(dtype)


def of_size(case: Case, size: Size, seed: int = 0) -> Record:
    return record(size, case.values(size), seed)


def pictured(case: Case, image: Image.Image) -> Record:
    """A record of a file as it is decoded in a run."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    size = (image.height, image.width)
    values = {column.name: column.encode(value) for column, value in case.values(size).items()}
    return Record("0" * 32, "0.png", *size[::-1], values, lambda: images.decode(file.getvalue()))


def rows(live: Any, stage: Stage[Any], records: Sequence[Record]) -> list[dict[str, Any]]:
    """Values by name of column, for every record, as declared."""
    found = stage.annotate(live, records)
    assert len(found) == len(records)
    named = []
    for row in found:
        assert isinstance(row, Mapping)
        worker.encoded(Step(stage, (), ""), row)
        named.append({column.name: value for column, value in row.items()})
    return named


def check_sane(value: Any, size: Size) -> None:
    """Boxes are inside the image, masks of its size, numbers finite."""
    if isinstance(value, Rle):
        assert value.size == size
    elif isinstance(value, DepthMap):
        assert np.isfinite(value.array()).all()
    elif is_dataclass(value):
        for part in fields(value):
            one = getattr(value, part.name)
            assert part.name != "box" or one is None or inside(one, size)
            check_sane(one, size)
    elif isinstance(value, Mapping | tuple | list):
        for one in value.values() if isinstance(value, Mapping) else value:
            check_sane(one, size)
    elif isinstance(value, float):
        assert math.isfinite(value)


def check_near(one: Any, other: Any, side: int, scale: float = 1.0) -> None:
    """Equal but for rounding; `side`: the longer one of the image."""
    assert type(one) is type(other)
    if isinstance(one, Rle):
        differing = geometry.rle_decode(one) != geometry.rle_decode(other)
        assert differing.mean() <= PIXELS
    elif isinstance(one, DepthMap):
        depth = one.array()
        assert np.allclose(depth, other.array(), atol=NEAR * float(np.abs(depth).max()))
    elif is_dataclass(one):
        for part in fields(one):
            wide = side if part.name == "box" else 1.0
            check_near(getattr(one, part.name), getattr(other, part.name), side, wide)
    elif isinstance(one, Mapping):
        check_near(tuple(one.items()), tuple(other.items()), side)
    elif isinstance(one, tuple | list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            check_near(*pair, side, scale)
    elif isinstance(one, float):
        assert abs(one - other) <= NEAR * scale
    else:
        assert one == other


@every_case
def test_eight_odd_images_together_are_as_alone(case: Case) -> None:
    stage = case.described()
    live = live_of(case.key)
    records = [of_size(case, size, seed) for seed, size in enumerate(SIZES)]
    assert len(records) == 8
    for row, one in zip(rows(live, stage, records), records, strict=True):
        check_sane(row, one.size)
        if case.alike or min(one.size) > 1:
            (alone,) = rows(live, stage, [one])
            check_near(row, alone, max(one.size))


@every_case
def test_grey_files_are_taken(case: Case) -> None:
    stage = case.described()
    noise = np.random.default_rng(0).integers(0, 256, (40, 60), np.uint8)
    files = [pictured(case, i) for i in (Image.fromarray(noise), Image.new("L", (60, 40), 128))]
    for row in rows(live_of(case.key), stage, files):
        check_sane(row, (40, 60))


@pytest.mark.slow
@every_case
def test_huge_files_are_taken(case: Case) -> None:
    stage = case.described()
    image = Image.linear_gradient("L").resize(HUGE[::-1])
    (row,) = rows(live_of(case.key), stage, [pictured(case, image)])
    check_sane(row, HUGE)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@every_case
def test_half_precision_gives_sane_rows_or_says_what_to_do(case: Case, dtype: Dtype) -> None:
    stage = case.described(dtype)
    records = [of_size(case, (40, 60)), of_size(case, (60, 40), 1)]
    if dtype in case.refuses:
        with pytest.raises((ValueError, SettingsError), match=case.refuses[dtype]):
            rows(live_of(case.key, dtype), stage, records)
        return
    for row, one in zip(rows(live_of(case.key, dtype), stage, records), records, strict=True):
        check_sane(row, one.size)


def _talks(case: Case) -> bool:
    return case.name.startswith(("florence2", "kosmos2"))


class Memory(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Notes the largest tensor that is made, and refuses those with more than `room` numbers."""

    def __init__(self, room: float = math.inf) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.room, self.most, self.refused = room, 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else (made,):
            numbers = one.numel() if isinstance(one, torch.Tensor) else 0
            self.most = max(self.most, numbers)
            if numbers > self.room:
                self.refused += 1
                raise torch.OutOfMemoryError("tried to allocate too much")
        return made


@pytest.mark.parametrize(
    "case",
    [
        # Random weights never end an answer, and a place of a phrase may take a thousand tokens.
        pytest.param(case, marks=[pytest.mark.slow] if "grounding-" in key and _talks(case) else [])
        for key, case in CASES.items()
    ],
    ids=CASES,
)
def test_full_memory_halves_the_batch_and_goes_on(case: Case) -> None:
    stage = case.described()
    step, live = Step(stage, (), ""), live_of(case.key)
    records = [of_size(case, (40, 60), seed) for seed in range(4)]
    with Memory() as one:
        alone = [rows(live, stage, [record])[0] for record in records]
    with Memory() as four:
        rows(live, stage, records)
    if four.most == one.most:
        pytest.skip("four images make no larger tensors than one")
    with Memory((one.most + four.most) / 2) as little:
        found, _ = worker._batch(step, live, records, len(records))
    assert little.refused
    assert [result.error for result in found] == [None] * len(records)
    for result, row in zip(found, alone, strict=True):
        assert result.values is not None
        told = {column.name: column.decode(result.values[column.name]) for column in stage.writes}
        check_near(told, row, 60)


@every_case
def test_where_nothing_is_to_be_found_the_row_is_empty(case: Case) -> None:
    if case.nothing is None:
        pytest.skip("there is always something")
    options, values = case.nothing
    stage = case.described(**options)
    live = live_of(case.key)
    (row,) = rows(live, stage, [record((40, 60), values or case.values((40, 60)))])
    assert not row[stage.writes[0].name]


@pytest.mark.parametrize("case", LISTED.values(), ids=LISTED)
def test_lists_and_labels_longer_than_a_model_reads_are_taken(case: Case) -> None:
    option = "vocabulary" if case.stage is Tags else "queries"
    stage = case.described(**{option: (*LONG, "red cat " * 100)})
    (row,) = rows(case.live(), stage, [of_size(case, (40, 60))])
    check_sane(row, (40, 60))
    assert row[stage.writes[0].name]
    if stage.writes[-1].name.startswith("query_groups"):
        groups = row[stage.writes[-1].name]
        assert sum(groups) in (0, len(LONG) + 1) and len(groups) != 1


def test_every_stage_with_a_model_and_every_architecture_is_in_the_table() -> None:
    known = {name for name in STAGES if hasattr(stage_class(name), "dtype")}
    assert {case.stage.name() for case in cases()} == known
    kinds: dict[str, set[str]] = {}
    for case in cases():
        if not case.name.startswith(("mdetr", "xvlm", "original", *ram.KINDS)):
            kind = preprocessor("AutoConfig", case.model()).model_type
            kinds.setdefault(case.stage.name(), set()).add(kind)
    assert kinds["open_detection"] == set(detector.BACKENDS)
    assert kinds["phrase_grounding"] | {"mdetr", "xvlm"} == set(grounders.BACKENDS)
    for stage in ("captions", "region_texts"):
        assert kinds[stage] == set(vlm.BACKENDS)


def test_every_stage_that_names_a_model_has_a_number_format() -> None:
    models = {name for name in STAGES if "model" in stage_class(name).__dataclass_fields__}
    assert {n for n in models if not hasattr(stage_class(n), "dtype")} == NOT_TORCH
