"""Model time of every stage per image, on one core.

    python -m benchmarks.stage_times [-n 64] [--passes 3] [--preset NAME|FILE] [--set KEY=VALUE]

Renders scenes and runs the stages of a preset over them in the order of the plan, in this process
and on one thread, in batches of each stage's `batch_size`, as a worker does: the same records, the
same values between stages, the same setting of the heap. What counts as a stage's time is
`annotate` alone. Loading models, decoding images and writing files are left out, and so is each
stage's first batch, which is annotated once beforehand, because the first call fills caches and
pays for what happens once.

Times are CPU time of the process, beside wall time: on a machine that does other work too, wall
time says more about the other work. On one thread of an idle machine the two are equal. Every stage
goes over the images several times and the least time counts: other work can only add to it.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from grand_pipeline import heap, plan, settings
from grand_pipeline.picturebook.render import render
from grand_pipeline.plan import Plan, Step
from grand_pipeline.record import Record
from grand_pipeline.stage import Failed, Row, Stage
from grand_pipeline.worker import encoded

SEED = 3_900_001


@dataclass(frozen=True)
class Cost:
    """Milliseconds per image."""

    cpu: float
    wall: float


Costs = dict[str, Cost]
"""Stage key -> cost, in the order of the plan."""


def measure(steps: Plan, images: Sequence[Image.Image], passes: int = 1) -> Costs:
    """Run every step of the plan over the images; columns go from step to step in memory."""
    columns: list[dict[str, Any]] = [{} for _ in images]
    costs: Costs = {}
    for step in steps.steps:
        records = [_record(step, n, image, columns[n]) for n, image in enumerate(images)]
        rows, costs[step.key] = _annotate(step.stage, records, passes)
        for known, row in zip(columns, rows, strict=True):
            if isinstance(row, Failed):
                raise RuntimeError(f"{step.key}: {row.reason}")
            known.update(encoded(step, row))
    return costs


def report(costs: Costs, images: int) -> dict[str, Any]:
    """What `--json` writes. Milliseconds of CPU time per image, except where the key says wall."""
    total = sum(cost.cpu for cost in costs.values())
    return {
        "machine": machine(),
        "images": images,
        "stages": {key: round(cost.cpu, 2) for key, cost in costs.items()},
        "total_ms": round(total, 1),
        "total_wall_ms": round(sum(cost.wall for cost in costs.values()), 1),
        "images_per_second": round(1000 / total, 2),
    }


def table(costs: Costs) -> str:
    """The costs for a reader, the dearest stage first."""
    ranked = sorted(costs.items(), key=lambda item: -item[1].cpu)
    total = Cost(sum(c.cpu for c in costs.values()), sum(c.wall for c in costs.values()))
    rows = [*ranked, ("total", total)]
    width = max(len(key) for key, _ in rows)
    lines = [f"{'ms per image':<{width}}  {'CPU':>7}  {'wall':>7}"]
    lines += [f"{key:<{width}}  {cost.cpu:7.1f}  {cost.wall:7.1f}" for key, cost in rows]
    return "\n".join([*lines, f"{1000 / total.cpu:.1f} images per second of CPU time, {machine()}"])


def machine() -> str:
    """The processor's name and the version of torch."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(named, platform.processor() or platform.machine())}, torch {torch.__version__}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-n", type=int, default=64, help="scenes to render")
    parser.add_argument("--passes", type=int, default=3, help="the least of so many times counts")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the scenes")
    parser.add_argument("--preset", default="picturebook", help="a preset or a TOML file")
    parser.add_argument("--set", action="append", default=[], help="stage.option=value; repeatable")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    torch.set_num_threads(1)
    heap.keep()
    chosen = settings.override(settings.load_preset(given.preset), given.set)
    images = [Image.fromarray(render(given.seed, n).image) for n in range(given.n)]
    costs = measure(plan.make_plan(settings.stages(chosen)), images, given.passes)
    print(json.dumps(report(costs, given.n), indent=2) if given.json else table(costs))


def _record(step: Step, index: int, image: Image.Image, known: dict[str, Any]) -> Record:
    """The image as the step's stage sees it: decoded, with the columns that it reads."""
    values = {name: known[name] for name, _ in step.inputs}
    name = f"scene {index}"
    return Record(name, name, image.width, image.height, values, lambda: image)


def _annotate(
    stage: Stage[Any], records: Sequence[Record], passes: int
) -> tuple[list[Row | Failed], Cost]:
    """Rows of all records, batch by batch, and what a row costs."""
    live = stage.load("cpu")
    size = max(1, stage.batch_size)
    batches = [records[start : start + size] for start in range(0, len(records), size)]
    stage.annotate(live, batches[0])
    rows: list[Row | Failed] = []
    costs = []
    for _ in range(passes):
        wall, cpu = time.perf_counter(), time.process_time()
        rows = [row for batch in batches for row in stage.annotate(live, batch)]
        spent = time.process_time() - cpu, time.perf_counter() - wall
        costs.append(Cost(*(1000 * seconds / len(records) for seconds in spent)))
    return rows, min(costs, key=lambda cost: cost.cpu)


if __name__ == "__main__":
    main()
