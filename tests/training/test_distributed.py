"""Two ranks learn what one learns, however the model is cut; a killed one is no loss."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from grand_pipeline import fields
from tests.training import toy, two_ranks
from training import checkpoint
from training.config import assigned
from training.distributed import alone, anywhere, gather, joined, mean, to_device
from training.logs import read

RUNS = (
    "rows=8",
    "loop.sharding=fsdp,loop.forget_activations=true",
    "contrastive=true",
    "contrastive=true,loop.sharding=fsdp",
    "weighted=true,loop.accumulate=2",
)


def launch(out: Path, runs: Sequence[str], *options: str) -> subprocess.CompletedProcess[str]:
    return two_ranks.launch("tests.training.toy", [str(out), *runs], options)


def single(out: Path, words: str) -> checkpoint.Checkpoint:
    given = {"out": str(out), "loop": asdict(toy.LOOP), "optimizer": asdict(toy.PACE)}
    toy.main(fields.build(toy.Config, assigned(given, words.split(",")), "toy"))
    return saved(out)


def saved(out: Path) -> checkpoint.Checkpoint:
    found = checkpoint.newest(out)
    assert found is not None
    return found


def assert_equal(one: checkpoint.Checkpoint, other: checkpoint.Checkpoint) -> None:
    for part in ("model", "average", "optimizer"):
        mine, theirs = one.tensors(part), other.tensors(part)
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-5, msg=name)


def test_two_ranks_learn_what_one_does_with_their_rows(tmp_path: Path) -> None:
    done = launch(tmp_path / "two", RUNS)
    assert done.returncode == 0, done.stderr
    for number, words in enumerate(RUNS):
        together = saved(tmp_path / "two" / str(number))
        one = single(tmp_path / "one" / str(number), words.replace("loop.sharding=fsdp", "rows=8"))
        assert_equal(together, one)
        logged = [read(p / str(number) / "log.jsonl") for p in (tmp_path / "two", tmp_path / "one")]
        for mine, theirs in zip(*logged, strict=True):
            assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
            assert mine["images"] == theirs["images"]


@pytest.mark.slow
def test_a_killed_rank_goes_on_at_the_last_checkpoint(tmp_path: Path) -> None:
    done = launch(tmp_path / "two", ["die_at=5"], "--max-restarts", "1")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "two" / "0"
    assert (out / "died").exists()
    assert_equal(saved(out), single(tmp_path / "one", "rows=8"))
    assert [row["step"] for row in read(out / "log.jsonl")] == [1, 2, 3, 4, 5, 6]


@dataclass(frozen=True)
class Sample:
    pixels: Tensor
    mask: Tensor | None
    groups: tuple[slice, ...] = (slice(0, 2),)


def test_every_tensor_of_a_batch_goes_to_the_device() -> None:
    meta = torch.device("meta")
    moved = to_device(Sample(torch.zeros(2), torch.ones(3)), meta)
    assert moved.pixels.is_meta and moved.mask.is_meta and moved.groups == (slice(0, 2),)
    assert to_device(Sample(torch.zeros(2), None), meta).mask is None
    found = to_device({"a": [torch.zeros(1)], "b": (torch.zeros(1), "x")}, meta)
    assert found["a"][0].is_meta and found["b"][0].is_meta and found["b"][1] == "x"


def test_alone_nothing_is_asked_of_others() -> None:
    with joined("cpu") as world:
        assert (world.rank, world.size, world.first) == (0, 1, True)
        assert gather(torch.ones(2, 3)).shape == (2, 3)
        assert mean({"a": 1.5}, world) == {"a": 1.5}
        assert anywhere(True, world) and not anywhere(False, alone("cpu"))
