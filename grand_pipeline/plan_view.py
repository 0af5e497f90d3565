"""A plan as tables, as Graphviz and as Mermaid text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from grand_pipeline import footprint
from grand_pipeline.footprint import Footprint
from grand_pipeline.plan import Plan

MODEL_COLUMNS = ("stage", "role", "model", "licence", "parameters", "disk GB", "GPU GB")
_UNKNOWN = "-"


def rows(plan: Plan) -> list[dict[str, object]]:
    """One flat object per step, in plan order: what it reads, writes, uses and asks for."""
    return [
        {
            "stage": step.key,
            "level": step.stage.level,
            "reads": [name for name, _ in step.inputs],
            "writes": list(step.writes),
            "models": list(step.stage.models),
            "cpus": step.stage.resources.cpus,
            "gpus": step.stage.resources.gpus,
            "memory_gb": step.stage.resources.memory_gb,
            "fingerprint": step.fingerprint,
        }
        for step in plan.steps
    ]


def report(plan: Plan) -> dict[str, object]:
    """Steps and models as plain values."""
    return {"stages": rows(plan), "models": [asdict(model) for model in models(plan)]}


def models(plan: Plan) -> tuple[Footprint, ...]:
    """What the plan's models ask for, one row per step and model."""
    return footprint.footprints(step.stage for step in plan.steps)


def model_row(row: Footprint) -> tuple[str, ...]:
    """A row's cells under `MODEL_COLUMNS`; "-" for what is not known."""
    unread = row.licence is not None and row.licence_read is None
    return (
        row.stage,
        row.role,
        row.model,
        f"{row.licence or _UNKNOWN}{' (not checked)' if unread else ''}",
        _UNKNOWN if row.parameters is None else _short(row.parameters),
        _UNKNOWN if row.disk_gb is None else f"{row.disk_gb:.3g}",
        _UNKNOWN if row.gpu_memory_gb is None else f"{row.gpu_memory_gb:.1f}",
    )


def model_remarks(rows: Sequence[Footprint]) -> list[str]:
    """What is to be said about all models together: licences, sizes, how they were estimated."""
    counts = footprint.licences(rows)
    memory = max(rows, key=lambda row: row.gpu_memory_gb or 0.0, default=None)
    lines = ["licences: " + (", ".join(f"{name} x{n}" for name, n in counts.most_common()) or "-")]
    if memory is not None and memory.gpu_memory_gb is not None:
        lines.append(
            f"about {footprint.disk_gb(rows):.3g} GB on disk for {counts.total()} models; on a GPU "
            f"one at a time, at most about {memory.gpu_memory_gb:.1f} GB ({memory.stage})"
        )
    lines.append(
        "GPU GB: weights in the stage's number format and an allowance that was not measured: "
        f"{footprint.SEES_GB:g} GB for models that look, {footprint.WRITES_GB:g} GB for those that "
        f"write, {footprint.SHIPPED_GB:g} GB for the small ones that ship with the package; a "
        "smaller batch_size needs less"
    )
    return lines


def _short(count: int) -> str:
    return f"{count / 1e9:.2f} B" if count >= 1e9 else f"{count / 1e6:.1f} M"


def dot(plan: Plan) -> str:
    """Graphviz source; edges carry the columns."""
    lines = ["digraph plan {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    lines += [f'  "{step.key}";' for step in plan.steps]
    lines += [f'  "{a}" -> "{b}" [label="{label}"];' for a, b, label in _edges(plan)]
    return "\n".join([*lines, "}"])


def mermaid(plan: Plan) -> str:
    """Mermaid flowchart source, as GitHub renders it."""
    ids = {step.key: f"s{index}" for index, step in enumerate(plan.steps)}
    lines = ["flowchart LR"]
    lines += [f'  {ids[step.key]}["{step.key}"]' for step in plan.steps]
    lines += [f"  {ids[a]} --> {ids[b]}" for a, b, _ in _edges(plan)]
    return "\n".join(lines)


def _edges(plan: Plan) -> list[tuple[str, str, str]]:
    return [
        (parent, step.key, ", ".join(n for n, writer in step.inputs if writer == parent))
        for step in plan.steps
        for parent in step.parents
    ]
