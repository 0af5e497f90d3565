"""How columns made elsewhere enter a run: by the stages' own protocol, one step per source.

An imported source is a step of the plan (`imported.SOURCE`) whose fingerprint holds the digest of
what was imported. Its fragments are committed like those of any stage, so that a build finds them
done, and what comes after them stale when something else is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from grand_pipeline import build, fragments, ingest, lock, publication, settings, worker
from grand_pipeline.annotations import publish_shard
from grand_pipeline.columns import Column, ImageRow
from grand_pipeline.errors import UserError
from grand_pipeline.fragments import Result
from grand_pipeline.importers.notes import Notes, Report
from grand_pipeline.plan import Plan, Step, feasible, make_plan
from grand_pipeline.stage import Row
from grand_pipeline.storage import Place, local
from grand_pipeline.store import Run
from grand_pipeline.terminal import printable
from grand_pipeline.types import Size

PRESET = Path(__file__).with_name("predictions.toml")
PREFIX = "imported."
NOTHING_SAID = "import"
"""What `_skipped` holds for an image of which a source says nothing."""
UNREADABLE = "images with a file that can not be read"


@dataclass(frozen=True)
class Order:
    """What the user asked: into which run, with which images."""

    run: Place
    images: Sequence[str] = ()
    shard_size: int = 256
    embed_images: bool = False


@dataclass(frozen=True)
class Part:
    """One source: `read` gives its columns for one image, or None if it has no file for it.

    `read` may raise SourceError, which becomes the image's error row. `content` is the digest of
    all its files. `silent` are the columns of an image without file, None: nothing is said of it.
    """

    source: str
    columns: tuple[Column[Any], ...]
    content: str
    read: Callable[[ImageRow, Notes], Row | None]
    silent: Row | None = None

    @property
    def key(self) -> str:
        """Its step in the plan."""
        return f"{PREFIX}{self.source}"

    def table(self, before: settings.Tables) -> dict[str, Any]:
        """Its table in the run's preset, after the imports of this source that came before."""
        known = before.get(self.key, {}).get("content", [])
        content = known if known[-1:] == [self.content] else [*known, self.content]
        return {"columns": [c.name for c in self.columns], "content": content}


@dataclass(frozen=True)
class Door:
    """A run held for an import."""

    run: Run
    token: str
    notes: Notes = field(default_factory=Notes)


@contextmanager
def opened(
    order: Order, sources: Mapping[str, tuple[Column[Any], ...]], onward: settings.Preset
) -> Iterator[Door]:
    """The run, made if absent, with the images that were asked for.

    Args:
        order: what the user asked.
        sources: the columns of each source that is to be imported.
        onward: as in `commit`.

    Raises UserError for images that do not exist and for a run that takes none of these, PlanError
    for a column that the run's own stages write already; the run is then as it was.
    """
    if order.images:
        next(ingest.discover(order.images, skip=local(order.run)))
    with lock.hold(order.run) as token:
        fresh = not (order.run / "run.json").exists()
        empty = build.described(settings.Preset(PRESET.stem, "", {}), None)
        run = Run.create(order.run, empty) if fresh else Run.open(order.run)
        try:
            # Raises RunError for a run that is not ours to add to.
            parts = [Part(source, columns, "", _nothing) for source, columns in sources.items()]
            make_plan(settings.stages(_preset(run, parts, onward)[0]))
            publication.sweep(run.root)
            _add_images(run, order)
            yield Door(run, token)
        except UserError:
            if fresh and not run.shards():
                publication.remove(order.run / "run.json")
            raise


def _add_images(run: Run, order: Order) -> None:
    if not order.images:
        return
    if any(nameless(row) for row in run.images()):
        raise UserError(
            f"'{run.root}' was imported without images; import with --images into a new run"
        )
    build.add_images(run, order.images, order.shard_size, order.embed_images)


def nameless(row: ImageRow) -> bool:
    """Whether the row stands for an image whose file nobody has seen."""
    return row.format is None and row.error is None


def add_names(door: Door, names: dict[str, Size | None], shard_size: int) -> None:
    """Rows for images known by name only, unless the run has files: id from the name, size given.

    The id is that of the bytes `name:NAME`, so that the same name is the same image everywhere.
    """
    known = list(door.run.images())
    if known and not all(nameless(row) for row in known):
        return
    ids = {row.image_id for row in known}
    named = (_by_name(name, size) for name, size in sorted(names.items()))
    rows = [row for row in named if row.image_id not in ids]
    for start in range(0, len(rows), shard_size):
        door.run.add_shard(rows[start : start + shard_size])


def _by_name(name: str, size: Size | None) -> ImageRow:
    height, width = size or (None, None)
    image_id = ingest.content_id(f"name:{name}".encode())
    return ImageRow(image_id, name, (), width, height, None, None, None)


def commit(door: Door, parts: Sequence[Part], onward: settings.Preset) -> Report:
    """Write every part's fragments, record the preset, publish if nothing else is to be done.

    `onward` are the stages that a build is to run afterwards, as far as they can.
    Raises PlanError for a column that the run's own stages write already.
    """
    rows = list(door.run.images())
    if not rows:
        raise UserError(f"nothing was imported: no image for '{door.run.root}' was found")
    preset, left_out = _preset(door.run, parts, onward)
    plan = make_plan(settings.stages(preset))
    sources = {part.source: _fragments(door, plan.step(part.key), part) for part in parts}
    for step in plan.steps:
        if step.stage.given and step.key.removeprefix(PREFIX) not in sources:
            _fragments(door, step, _absent(step))
    Run.create(door.run.root, build.described(preset, None))
    published = _publish(door, plan)
    without = sum(nameless(row) for row in rows)
    return Report(str(door.run.root), len(rows), without, sources, door.notes, left_out, published)


def _preset(
    run: Run, parts: Sequence[Part], onward: settings.Preset
) -> tuple[settings.Preset, dict[str, str]]:
    """What a build of this run is to do; a preset that the user has chosen stays his."""
    recorded, _ = build.recorded_preset(run)
    tables = build.with_imported(recorded, run.root).tables
    imported = {key: table for key, table in tables.items() if key.startswith(PREFIX)}
    imported |= {part.key: part.table(imported) for part in parts}
    if recorded.name != PRESET.stem:
        return replace(recorded, tables={**recorded.tables, **imported}), {}
    all_tables = {**imported, **onward.tables}
    kept, left_out = feasible(settings.stages(replace(onward, tables=all_tables)))
    keys = {stage.key for stage in kept}
    return replace(onward, tables={k: t for k, t in all_tables.items() if k in keys}), left_out


def _absent(step: Step) -> Part:
    """A source of an earlier import: it says nothing of images that came later."""
    source = step.key.removeprefix(PREFIX)
    return Part(source, step.stage.writes, "", _nothing)


def _nothing(row: ImageRow, notes: Notes) -> Row | None:
    return None


def _fragments(door: Door, step: Step, part: Part) -> dict[str, int]:
    """Write what is not there yet. An image without file keeps what was imported before."""
    counts = {"imported": 0, "with nothing said": 0, "failed": 0}
    for shard in door.run.shards():
        before = _committed(door.run, step, shard)
        if door.run.state(step.key, shard, step.fingerprint) == "done":
            results = before
        else:
            rows = door.run.shard_images(shard)
            old: list[Result | None] = [*before] or [None] * len(rows)
            results = [
                _result(step, part, r, o, door.notes) for r, o in zip(rows, old, strict=True)
            ]
            fragments.commit_results(door.run, step, shard, rows, results, door.token)
        counts["imported"] += sum(result.values is not None for result in results)
        counts["with nothing said"] += sum(result.skipped is not None for result in results)
        counts["failed"] += sum(result.error is not None for result in results)
    return counts


def _committed(run: Run, step: Step, shard: str) -> list[Result]:
    """What an earlier import wrote; [] if there was none."""
    if not run.fragment(step.key, shard).exists():
        return []
    return [found for found in fragments.results(run, step, shard) if found is not None]


def _result(step: Step, part: Part, row: ImageRow, before: Result | None, notes: Notes) -> Result:
    def values() -> Result:
        own = Notes()
        read = part.read(row, own)
        if read is None and before is not None and before.skipped is None:
            return before
        said = part.silent if read is None else read
        if said is None:
            return Result(None, skipped=NOTHING_SAID)
        coded = worker.encoded(step, said)
        notes.add(own, row.uri)
        return Result(coded)

    found = worker.attempt(values)
    if isinstance(found, Result):
        return found
    reason = printable(str(found))  # It may quote the file, and has to be text.
    notes.count(UNREADABLE, reason)
    return Result(None, error=reason)


def _publish(door: Door, plan: Plan) -> bool:
    if any(not step.stage.given for step in plan.steps):
        return False
    for shard in door.run.shards():
        publish_shard(door.run, plan, shard, door.token)
    return True
