"""A plan as a table, as Graphviz and as Mermaid text."""

from __future__ import annotations

from grand_pipeline.plan import Plan


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
