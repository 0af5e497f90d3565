"""How fast published models run on a GPU: images per second, memory, and use of the machine.

    python -m benchmarks.models [HUB_ID ...] [--dtype bfloat16] [--most 64] [--tiny] [--json]

Builds the models of the table (`grand_pipeline.zoo`) at published size with random weights and
calls each with batches of 1, 2, 4, ... images until memory is full or `--most` is reached. Values
decide nothing about speed, so no weights are needed. Models that write are made to write 32 tokens
per image. What is told is the best batch: images per
second, the peak of the memory, and MFU, which is the share of the machine's peak that the matrix
products and convolutions of a call come to.

This is the bare model. What stages do around it, decoding, preparing and storing, is not in it.
Without a GPU nothing is measured, and that is said; rows of the table that nothing builds are named
with the reason. `--tiny` runs the miniatures that ship with the
package on the CPU instead, which shows that the script works and nothing else.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.published import BUILDERS, Builder
from benchmarks.published.inputs import FEEDS, Inputs
from grand_pipeline.errors import UserError, suggest
from grand_pipeline.zoo import MODELS
from stages import hub

PEAKS: Mapping[str, float] = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12}
"""Name of a GPU -> operations per second in half precision without sparsity, by its maker."""
TINY: Mapping[str, Builder] = {
    f"embedded:{name}": partial(hub.pretrained, auto, f"embedded:{name}", "cpu")
    for name, auto in (
        ("owl_vit", "AutoModelForZeroShotObjectDetection"),
        ("sam", "AutoModel"),
        ("depth", "AutoModelForDepthEstimation"),
        ("blip", "AutoModelForImageTextToText"),
    )
}

WRITTEN = 32
"""Tokens that a model writes per image."""

Report = dict[str, Any]


def measure(build: Builder, device: str, dtype: str, most: int, seconds: float) -> Report:
    """What is told of one model; each batch size is called for `seconds`."""
    with torch.device(device):
        model = build().to(device, getattr(torch, dtype)).eval().requires_grad_(False)
    feed = FEEDS.get(type(model).__name__)
    if feed is None:
        return {"skipped": f"what to feed a {type(model).__name__} is not known"}
    best: Report = {"skipped": "not even one image fits"}
    batch = 1
    while batch <= most:
        given = _placed(feed(model.config, batch), device, dtype)
        try:
            speed, memory = _speed(model, given, batch, seconds), _peak(device)
        except torch.OutOfMemoryError:
            break
        if speed > best.get("images_per_second", 0.0):
            best = {"batch": batch, "images_per_second": speed, "peak_gb": memory}
        batch *= 2
    if "skipped" in best:
        return best
    work = _operations(model, _placed(feed(model.config, 1), device, dtype))
    peak = next((rate for name, rate in PEAKS.items() if name in machine(device)), None)
    half = dtype != "float32"
    mfu = work * best["images_per_second"] / peak if peak and half else None
    return {
        **{key: round(value, 2) if value is not None else None for key, value in best.items()},
        "gflop_per_image": round(work / 1e9, 2),
        "mfu": None if mfu is None else round(mfu, 3),
        "parameters": sum(weight.numel() for weight in model.parameters()),
    }


def run(hub_ids: Sequence[str], dtype: str, most: int, seconds: float, tiny: bool) -> Report:
    """What `--json` prints. Raises UserError for a model that has no builder."""
    known = TINY if tiny else BUILDERS
    for name in hub_ids:
        if name not in known:
            raise UserError(f"nothing builds '{name}'.{suggest(name, known)}")
    models: dict[str, Report] = {}
    if not tiny and not hub_ids:
        models |= {name: {"skipped": reason} for name, reason in unbuilt().items()}
    if not tiny and not torch.cuda.is_available():
        reason = "no CUDA device here: published sizes are measured on a GPU"
        models |= {name: {"skipped": "no CUDA device"} for name in hub_ids or known}
        return {"skipped": reason, "models": models}
    device = "cpu" if tiny else "cuda"
    for name in hub_ids or known:
        models[name] = measure(known[name], device, dtype, most, seconds)
        if device == "cuda":
            torch.cuda.empty_cache()
    return {"machine": machine(device), "dtype": dtype, "models": models}


def unbuilt() -> Mapping[str, str]:
    """Rows of the model table that are not measured, with the reason."""
    return {
        row.hub_id or row.name: f"nothing here builds a {row.architecture or 'model of this kind'} "
        f"with random weights; {row.note.partition(';')[0] or row.role}"
        for row in MODELS
        if row.hub_id not in BUILDERS
    }


def table(report: Report) -> str:
    """The report for a reader."""
    width = max(len(name) for name in report["models"])
    if "skipped" in report:
        named = [f"{name:<{width}}  {one['skipped']}" for name, one in report["models"].items()]
        return "\n".join([f"skipped: {report['skipped']}", *named])
    columns = ("batch", "images_per_second", "peak_gb", "gflop_per_image", "mfu")
    lines = [f"{report['machine']}, {report['dtype']}, random weights"]
    lines += [f"{'model':<{width}}" + "".join(f"{name:>20}" for name in columns)]
    for name, one in report["models"].items():
        cells = "".join(f"{_cell(one.get(column)):>20}" for column in columns)
        lines.append(f"{name:<{width}}" + (f"  {one['skipped']}" if "skipped" in one else cells))
    return "\n".join(lines)


def machine(device: str) -> str:
    """The GPU's name, or that it is a CPU; the version of torch."""
    name = torch.cuda.get_device_name(0) if device == "cuda" else "CPU"
    return f"{name}, torch {torch.__version__}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("hub_id", nargs="*", help="models; all that can be built if none")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--most", type=int, default=64, help="largest batch to try")
    parser.add_argument("--seconds", type=float, default=2.0, help="per model and batch size")
    parser.add_argument("--tiny", action="store_true", help="shipped miniatures, on the CPU")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    report = run(given.hub_id, given.dtype, given.most, given.seconds, given.tiny)
    print(json.dumps(report, indent=2) if given.json else table(report))


def _placed(inputs: Inputs, device: str, dtype: str) -> Inputs:
    """Pixels in the model's number format; boxes stay float32, which they need."""
    placed = {name: value.to(device) for name, value in inputs.items()}
    placed["pixel_values"] = placed["pixel_values"].to(getattr(torch, dtype))
    return placed


def _call(model: Any, inputs: Inputs) -> None:
    """What one batch costs: a pass, or for models that write, all tokens of their texts."""
    if not type(model).__name__.endswith("ForConditionalGeneration"):
        model(**inputs)
        return
    bounds = {"max_new_tokens": WRITTEN, "min_new_tokens": WRITTEN, "do_sample": False}
    model.generation_config.pad_token_id = 0
    model.generate(**inputs, **bounds)


def _speed(model: Any, inputs: Inputs, batch: int, seconds: float) -> float:
    """Images per second, after two calls that are not counted."""
    wait = torch.cuda.synchronize if inputs["pixel_values"].is_cuda else time.perf_counter
    with torch.inference_mode():
        for _ in range(2):
            _call(model, inputs)
        wait()
        begun, calls = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds or not calls:
            _call(model, inputs)
            wait()
            calls += 1
    return batch * calls / (time.perf_counter() - begun)


def _peak(device: str) -> float | None:
    """Gigabytes of GPU memory at most since the last time this was asked."""
    if device != "cuda":
        return None
    most = torch.cuda.max_memory_allocated() / 1e9
    torch.cuda.reset_peak_memory_stats()
    return most


def _operations(model: Any, inputs: Inputs) -> int:
    """Operations of matrix products and convolutions of one call."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        _call(model, inputs)
    return int(counter.get_total_flops())


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:,}"


if __name__ == "__main__":
    main()
