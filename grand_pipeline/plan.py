"""The DAG, derived from what stages read and write; nobody draws an edge.

A plan owns the fingerprints: a step's fingerprint hashes its stage's version and options, the
identity of its weights and prompts, and its parents' fingerprints, so a change reruns that stage
and its descendants and nothing else.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from grand_pipeline import weights
from grand_pipeline.columns import Column, Family
from grand_pipeline.errors import PlanError, suggest
from grand_pipeline.stage import Resources, Stage


@dataclass(frozen=True)
class Step:
    """A stage in its place: which columns it gets from which steps, and its fingerprint."""

    stage: Stage[Any]
    inputs: tuple[tuple[str, str], ...]
    """(column name, key of the step that writes it), sorted."""
    identity: str
    """Canonical JSON of everything that decides the content; kept in every fragment's footer."""

    @property
    def fingerprint(self) -> str:
        """Hash of the identity."""
        return _hash(self.identity)

    @property
    def key(self) -> str:
        """Name in the plan and of the fragment folder."""
        return self.stage.key

    @property
    def parents(self) -> tuple[str, ...]:
        """Keys of the steps this one reads from, sorted."""
        return tuple(sorted({writer for _, writer in self.inputs}))

    @property
    def writes(self) -> tuple[str, ...]:
        """Names of the columns it writes."""
        return tuple(column.name for column in self.stage.writes)


@dataclass(frozen=True)
class Plan:
    """Steps in an order in which every step comes after its parents."""

    steps: tuple[Step, ...]

    @cached_property
    def by_key(self) -> dict[str, Step]:
        """Steps by key."""
        return {step.key: step for step in self.steps}

    def step(self, key: str) -> Step:
        """The step `key`. Raises PlanError that lists the keys."""
        if key not in self.by_key:
            raise PlanError(f"the plan has no stage '{key}'.{suggest(key, self.by_key)}")
        return self.by_key[key]

    def descendants(self, key: str) -> tuple[str, ...]:
        """`key` and every step that needs it, directly or not, in plan order."""
        found = {self.step(key).key}
        for step in self.steps:
            if found & set(step.parents):
                found.add(step.key)
        return tuple(step.key for step in self.steps if step.key in found)

    @property
    def fingerprint(self) -> str:
        """Identity of the published rows: all steps together."""
        return _hash(_canonical(sorted(step.fingerprint for step in self.steps)))


def make_plan(stages: Sequence[Stage[Any]], until: str | None = None) -> Plan:
    """Order the stages by their columns; with `until`, only that stage and what it needs.

    Raises PlanError for a column with two writers, a read that nobody writes, a cycle, or an
    unknown `until`.
    """
    writers = _writers(stages)
    inputs = {stage.key: _inputs(stage, writers) for stage in stages}
    parents = {key: sorted({writer for _, writer in found}) for key, found in inputs.items()}
    steps: dict[str, Step] = {}
    for stage in _needed(_ordered(stages, parents), parents, until):
        fingerprints = {parent: steps[parent].fingerprint for parent in parents[stage.key]}
        steps[stage.key] = Step(stage, inputs[stage.key], _identity(stage, fingerprints))
    return Plan(tuple(steps.values()))


def feasible(stages: Sequence[Stage[Any]]) -> tuple[tuple[Stage[Any], ...], dict[str, str]]:
    """The stages whose reads are written by others of them, and why each other one is left out.

    The second value maps a stage's key to the column that nobody writes.
    """
    kept, unmet = tuple(stages), dict[str, str]()
    while True:
        writers = {column.name: stage.key for stage in kept for column in stage.writes}
        lacking = {
            stage.key: read.name
            for stage in kept
            for read in (*stage.mentions, *stage.reads)
            if not _members(read, writers)
        }
        if not lacking:
            return kept, unmet
        unmet.update(lacking)
        kept = tuple(stage for stage in kept if stage.key not in lacking)


def _ordered(stages: Sequence[Stage[Any]], parents: dict[str, list[str]]) -> list[Stage[Any]]:
    ordered: dict[str, Stage[Any]] = {}
    while len(ordered) < len(stages):
        waiting = [stage for stage in stages if stage.key not in ordered]
        ready = [stage for stage in waiting if all(p in ordered for p in parents[stage.key])]
        if not ready:
            names = ", ".join(stage.key for stage in waiting)
            raise PlanError(f"these stages wait for each other in a cycle: {names}")
        ordered.update({stage.key: stage for stage in ready})
    return list(ordered.values())


def _needed(
    ordered: Sequence[Stage[Any]], parents: dict[str, list[str]], until: str | None
) -> list[Stage[Any]]:
    if until is None:
        return list(ordered)
    if until not in parents:
        raise PlanError(f"the plan has no stage '{until}'.{suggest(until, parents)}")
    needed = {until}
    for stage in reversed(ordered):
        if stage.key in needed:
            needed.update(parents[stage.key])
    return [stage for stage in ordered if stage.key in needed]


def without_gpus(plan: Plan, nodes: Iterable[Resources]) -> Plan:
    """The plan for these nodes: where none has a GPU, stages with `cpu_will_do` ask for none."""
    if any(node.gpus > 0 for node in nodes):
        return plan
    return Plan(tuple(replace(step, stage=_on_cpus(step.stage)) for step in plan.steps))


def _on_cpus(stage: Stage[Any]) -> Stage[Any]:
    asked = stage.resources
    return replace(stage, resources=replace(asked, gpus=0.0)) if asked.cpu_will_do else stage


def check_fits(plan: Plan, nodes: Iterable[Resources]) -> None:
    """Refuse a plan with a stage that no single node can hold; the message is a table.

    `nodes` give each node's cpus, gpus and memory. Raises PlanError.
    """
    sizes = list(nodes)
    misfits = [
        step for step in plan.steps if not any(holds(n, step.stage.resources) for n in sizes)
    ]
    if not misfits:
        return
    rows = [("", "cpus", "gpus", "memory GB")]
    rows += [(f"stage {s.key}", *_amounts(s.stage.resources)) for s in misfits]
    rows += [(f"node {i}", *_amounts(node)) for i, node in enumerate(sizes)]
    table = "\n".join(f"  {a:<32}{b:>8}{c:>8}{d:>12}" for a, b, c, d in rows)
    raise PlanError(
        f"no node can hold these stages:\n{table}\n"
        f"Add a node or ask less, e.g. {_asking_less(misfits[0], sizes)}"
    )


def _asking_less(step: Step, nodes: Sequence[Resources]) -> str:
    """The option with which the node that comes nearest could hold the stage."""
    lacking = [_lacking(node, step.stage.resources) for node in nodes] or [{"cpus": 0.0}]
    nearest = min(lacking, key=len)
    return " ".join(f"--set {step.key}.resources.{name}={n:g}" for name, n in nearest.items())


def _lacking(node: Resources, need: Resources) -> dict[str, float]:
    """What the node has of each thing that it has too little of, rounded down."""
    return {
        name: math.floor(getattr(node, name) * 10) / 10
        for name in ("cpus", "gpus", "memory_gb")
        if getattr(node, name) < getattr(need, name)
    }


def holds(node: Resources, need: Resources) -> bool:
    """Whether free resources `node` are enough for `need`."""
    return not _lacking(node, need)


def _amounts(resources: Resources) -> tuple[str, str, str]:
    return f"{resources.cpus:g}", f"{resources.gpus:g}", f"{resources.memory_gb:.1f}"


def _writers(stages: Sequence[Stage[Any]]) -> dict[str, str]:
    writers: dict[str, str] = {}
    for stage in stages:
        for column in stage.writes:
            if column.name in writers:
                raise PlanError(
                    f"column '{column.name}' has two writers, '{writers[column.name]}' and "
                    f"'{stage.key}'; remove one of them from the preset"
                )
            writers[column.name] = stage.key
    return writers


def _inputs(stage: Stage[Any], writers: dict[str, str]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for read in (*stage.mentions, *stage.reads):
        names = _members(read, writers)
        if not names:
            written = ", ".join(sorted(writers)) or "(none)"
            what = f"{read.name}.*" if isinstance(read, Family) else read.name
            raise PlanError(
                f"stage '{stage.key}' reads column '{what}', which no stage of the plan writes. "
                f"Written columns: {written}. Add a stage that writes it."
            )
        found.update({name: writers[name] for name in names})
    return tuple(sorted(found.items()))


def _members(read: Column[Any] | Family[Any], writers: dict[str, str]) -> list[str]:
    if isinstance(read, Family):
        return [name for name in writers if read.owns(name)]
    return [read.name] if read.name in writers else []


def _identity(stage: Stage[Any], parents: dict[str, str]) -> str:
    # Imported by name: prompts is a data package above the engine, and only its digest matters.
    digest = importlib.import_module("prompts").digest if stage.prompts else None
    return _canonical(
        {
            "class": f"{type(stage).__module__}.{type(stage).__qualname__}",
            "version": stage.version,
            "options": stage.options(),
            "weights": {model: weights.digest(model) for model in stage.models},
            "prompts": {name: digest(name) for name in stage.prompts} if digest else {},
            "parents": parents,
        }
    )


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
