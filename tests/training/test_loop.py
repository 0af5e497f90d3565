"""The loop: what a run learns does not depend on how it was interrupted, cut up or watched."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.training.toy import LOOP, PACE, Batch, Place, net, rows, sums
from training import loop
from training.checkpoint import TrainingError, complete, newest
from training.distributed import alone
from training.logs import read
from training.state import Loop

SHORT = replace(LOOP, steps=9)
Stream = Callable[[Place], Iterator[tuple[Place, Batch]]]


def stream(place: Place, size: int = 8) -> Iterator[tuple[Place, Batch]]:
    for step in count(place.step):
        torch.rand(3)  # what prepares data may draw numbers at any time
        yield Place(step + 1), rows(step, size)


def stopped(at: int) -> Stream:
    def data(place: Place) -> Iterator[tuple[Place, Batch]]:
        for after, batch in stream(place):
            if after.step > at:
                raise KeyboardInterrupt
            yield after, batch

    return data


def run(
    out: Path, settings: Loop, data: Stream = stream, loss: Any = sums, **others: Any
) -> nn.Module:
    model = net(drop=0.3)
    given = {"start": Place(), "batch_size": 8, "world": alone("cpu"), **others}
    return loop.fit(model, data, loss, settings, PACE, out, **given)


def losses(out: Path) -> list[float]:
    return [row["loss"] for row in read(out / "log.jsonl") if "loss" in row]


def assert_same(one: nn.Module, other: nn.Module) -> None:
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


@pytest.mark.parametrize("killed", [1, 4, 8])
def test_a_killed_run_learns_to_the_bit_what_an_uninterrupted_one_does(
    tmp_path: Path, killed: int
) -> None:
    whole = run(tmp_path / "whole", SHORT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", SHORT, stopped(killed))
    torch.rand(5)  # other work must not matter
    resumed = run(tmp_path / "cut", SHORT)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert losses(tmp_path / "cut")[-1] < losses(tmp_path / "cut")[0]
    assert_same(whole, resumed)


def test_small_batches_accumulate_to_a_big_one(tmp_path: Path) -> None:
    def parts(place: Place) -> Iterator[tuple[Place, Batch]]:
        for after, batch in stream(place):
            for n in range(4):
                some = slice(2 * n, 2 * n + 2)
                yield after, Batch(batch.ids[some], batch.numbers[some])

    def still(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return sums(model.eval(), batch)  # dropout would differ

    big = run(tmp_path / "big", SHORT, loss=still)
    small = run(tmp_path / "small", replace(SHORT, accumulate=4), parts, still)
    for name, value in big.state_dict().items():
        torch.testing.assert_close(value, small.state_dict()[name])
    assert losses(tmp_path / "small") == pytest.approx(losses(tmp_path / "big"), abs=2e-6)


def test_the_norm_of_the_gradient_is_cut_down(tmp_path: Path) -> None:
    def steep(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"loss": 1000 * sums(model, batch)["loss"]}

    seen: list[float] = []
    model = net()
    model.last.bias.register_post_accumulate_grad_hook(lambda p: seen.append(float(p.grad.norm())))
    loop.fit(
        model, stream, steep, replace(SHORT, steps=1), PACE, tmp_path,
        start=Place(), batch_size=8, world=alone("cpu"),
    )  # fmt: skip
    assert read(tmp_path / "log.jsonl")[0]["grad_norm"] > 100  # as it was, not as it is taken
    assert seen[0] > 1 and float(model.last.bias.grad.norm()) <= 1


def test_what_is_not_finite_stops_the_run_and_names_the_batch(tmp_path: Path) -> None:
    def broken(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        bad = "image24" in batch.ids
        return {"loss": sums(model, batch)["loss"] * (float("nan") if bad else 1.0)}

    with pytest.raises(TrainingError, match=r"step 3: .* image24, image25.*intact") as raised:
        run(tmp_path, SHORT, loss=broken)
    assert "image16" not in str(raised.value)
    noted = json.loads((tmp_path / "not_finite_rank0.json").read_text())
    assert noted["step"] == 3 and noted["ids"] == [f"image{n}" for n in range(24, 32)]
    saved = newest(tmp_path)
    assert saved is not None and saved.step == 2
    assert all(value.isfinite().all() for value in saved.tensors("model").values())


def test_a_run_is_not_gone_on_with_under_other_settings(tmp_path: Path) -> None:
    run(tmp_path, replace(SHORT, steps=4))
    with pytest.raises(TrainingError, match=r"steps 4 -> 9.*another folder"):
        run(tmp_path, SHORT)
    run(tmp_path, replace(SHORT, steps=4, log_every=3, keep=1))


def test_another_model_is_not_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path, SHORT)
    given = {"start": Place(), "batch_size": 8, "world": alone("cpu")}
    with pytest.raises(TrainingError, match="holds another model"):
        loop.fit(nn.Linear(3, 2), stream, sums, SHORT, PACE, tmp_path, **given)


def test_sigterm_leaves_a_checkpoint_of_the_step(tmp_path: Path) -> None:
    def data(place: Place) -> Iterator[tuple[Place, Batch]]:
        for after, batch in stream(place):
            if after.step == 4:
                os.kill(os.getpid(), signal.SIGTERM)
            yield after, batch

    with pytest.raises(SystemExit) as raised:
        run(tmp_path / "cut", replace(SHORT, save_every=100), data)
    assert raised.value.code == 143
    saved = newest(tmp_path / "cut")
    assert saved is not None and saved.step == 4 and saved.facts["position"] == {"step": 4}
    assert_same(run(tmp_path / "whole", SHORT), run(tmp_path / "cut", SHORT))


def test_scores_leave_no_trace_and_see_the_averaged_weights(tmp_path: Path) -> None:
    seen: list[dict[str, Tensor]] = []

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert not model.training and not torch.is_grad_enabled()
        torch.rand(7)
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"weight": 1.0}

    plain = run(tmp_path / "plain", SHORT)
    watched = run(tmp_path / "seen", replace(SHORT, eval_every=3), evaluate=evaluate)
    assert_same(plain, watched)
    assert losses(tmp_path / "seen") == losses(tmp_path / "plain")
    assert [r["step"] for r in read(tmp_path / "seen" / "log.jsonl") if "eval_weight" in r] == [
        3, 6, 9,
    ]  # fmt: skip
    assert all(torch.equal(v, watched.state_dict()[name]) for name, v in seen[-1].items())


def test_frozen_weights_need_not_stand_in_checkpoints(tmp_path: Path) -> None:
    def frozen() -> nn.Module:
        model = net()
        model.first.requires_grad_(False)
        return model

    settings = replace(SHORT, keep_frozen=False)
    given = {"start": Place(), "batch_size": 8, "world": alone("cpu")}
    with pytest.raises(KeyboardInterrupt):
        loop.fit(frozen(), stopped(5), sums, settings, PACE, tmp_path / "cut", **given)
    saved = newest(tmp_path / "cut")
    assert saved is not None and set(saved.tensors("model")) == {"last.weight", "last.bias"}
    resumed = loop.fit(frozen(), stream, sums, settings, PACE, tmp_path / "cut", **given)
    whole = loop.fit(frozen(), stream, sums, settings, PACE, tmp_path / "whole", **given)
    assert_same(whole, resumed)


def test_forgotten_activations_and_compilation_change_nothing(tmp_path: Path) -> None:
    def steps(name: str, **others: Any) -> nn.Module:
        model, calls = net(drop=0.3), []
        model.first[0].register_forward_pre_hook(lambda *given: calls.append(name))
        given: dict[str, Any] = {"start": Place(), "batch_size": 8, "world": alone("cpu")}
        settings = replace(SHORT, **others)
        made = loop.fit(
            model, stream, sums, settings, PACE, tmp_path / name, blocks=[model.first], **given
        )
        assert len(calls) == SHORT.steps * (2 if name == "forgotten" else 1)
        return made

    whole = steps("whole")
    assert_same(whole, steps("forgotten", forget_activations=True))
    compiled = steps("compiled", compile="eager")
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(value, compiled.state_dict()[name])


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    run(tmp_path, replace(SHORT, keep=2))
    assert [folder.name for folder in complete(tmp_path)] == ["step-00000008", "step-00000009"]


def test_data_that_ends_is_an_error(tmp_path: Path) -> None:
    def short(place: Place) -> Iterator[tuple[Place, Batch]]:
        yield from islice(stream(place), 1)

    with pytest.raises(TrainingError, match="the data ended before step 1"):
        run(tmp_path, SHORT, short)


@pytest.mark.gpu
def test_a_gpu_run_in_bfloat16_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    settings, world = replace(SHORT, bf16=True), alone("cuda")
    whole = run(tmp_path / "whole", settings, world=world)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", settings, stopped(4), world=world)
    resumed = run(tmp_path / "cut", settings, world=world)
    for name, value in whole.state_dict().items():
        assert value.is_cuda
        torch.testing.assert_close(value, resumed.state_dict()[name])
    assert read(tmp_path / "cut" / "log.jsonl")[-1]["memory_gb"] > 0
    run(tmp_path / "compiled", replace(settings, compile="inductor"), world=world)
