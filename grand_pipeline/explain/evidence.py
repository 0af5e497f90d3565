"""Everything that a run holds about one image, and which stage made it with which options.

Options and models are read from the footers of the fragments: they are those that made the values,
whatever the preset says today.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from grand_pipeline import publication
from grand_pipeline.columns import DEPTH_MAP, SOURCES, Column, Family, ImageRow
from grand_pipeline.errors import UserError
from grand_pipeline.fragments import PENDING
from grand_pipeline.store import ERROR, SKIPPED, Run

T = TypeVar("T")

Condition = Literal["done", "stale", "missing", "failed", "skipped"]
_MARKS = ("image_id", ERROR, SKIPPED)
_FEW = 5
_IMPORTED = "imported"
_IMPORT = "import"
"""What `_skipped` holds where a source that was imported says nothing of an image."""


@dataclass(frozen=True)
class Made:
    """What a stage did for the image; `note` says why there are no values or why they are stale."""

    key: str
    condition: Condition
    note: str = ""
    models: tuple[str, ...] = ()
    options: Mapping[str, Any] | None = None
    """Options that made the values; None where nothing was made."""


@dataclass(frozen=True)
class Evidence:
    """The columns of one image (by name, plain Arrow values) and the stages of the run by key."""

    run: str
    shard: str
    image: ImageRow
    stages: Mapping[str, Made]
    values: Mapping[str, Any]
    writers: Mapping[str, str]

    def value(self, column: Column[T]) -> T | None:
        """The decoded value, None where there is none."""
        plain = self.values.get(column.name)
        return None if plain is None else column.decode(plain)

    def members(self, family: Family[T]) -> dict[str, T]:
        """Source -> decoded value of the members that are present, by name."""
        names = sorted(name for name in self.values if family.owns(name))
        found = {family.source(n): self.value(family.of(family.source(n))) for n in names}
        return {source: value for source, value in found.items() if value is not None}

    def maker(self, column: Column[Any]) -> Made | None:
        """The stage that wrote a column."""
        return self.stages.get(self.writers.get(column.name, ""))

    def imported(self, column: Column[Any]) -> str | None:
        """The source that a column was imported from; None where a stage has computed it."""
        made = self.maker(column)
        return imported_from(made.key) if made else None

    def option(self, column: Column[Any], name: str) -> Any:
        """An option of the stage that wrote a column; None where the stage has no such option."""
        made = self.maker(column)
        return (made.options or {}).get(name) if made else None


def imported_from(key: str) -> str | None:
    """The source of a step that an import wrote; None for any other step."""
    name, _, source = key.partition(".")
    return source if name == _IMPORTED else None


def gather(run: Run, image: ImageRow, shard: str) -> Evidence:
    """Read what the run holds about an image of `shard`; big arrays are left out."""
    info = run.info()["preset"]
    wanted: dict[str, dict[str, Any]] = info.get("stages", {})
    present = [path.parent.name for path in run.root.glob(f"stages/*/{shard}.parquet")]
    held = {key: _held(run, key, shard, image.image_id) for key in present}
    footers = {key: footer for key, (footer, _) in held.items()}
    stages: dict[str, Made] = {}
    values: dict[str, Any] = {}
    writers: dict[str, str] = {}
    for key in dict.fromkeys((*wanted, *sorted(present))):
        footer = footers.get(key)
        if footer is None:
            stages[key] = Made(key, "missing", _why_missing(info.get("until"), key))
            continue
        row = held[key][1]
        identity = json.loads(footer.get("identity", "{}"))
        stages[key] = _made(key, row, identity, _why_stale(key, footers, wanted))
        for name in row.keys() - set(_MARKS):
            values[name], writers[name] = row[name], key
    return Evidence(str(run.root), shard, image, stages, values, writers)


def find_image(run: Run, name: str) -> tuple[ImageRow, str]:
    """The image row and shard that `name` means: an id or its beginning, a uri or its end.

    Raises UserError that lists what is near.
    """
    listed: list[tuple[str, str, int, tuple[str, ...]]] = []
    for shard in run.shards():
        columns = ("image_id", "uri", "duplicates")
        table = publication.read_table(run.images_path(shard), columns)
        for place, row in enumerate(table.to_pylist()):
            uris = (row["uri"], *row["duplicates"])
            listed.append((row["image_id"], shard, place, uris))
    tests: tuple[Callable[[str, tuple[str, ...]], bool], ...] = (
        lambda image_id, uris: image_id == name or name in uris,
        lambda image_id, uris: image_id.startswith(name),
        lambda image_id, uris: any(uri.endswith(f"/{name}") for uri in uris),
        lambda image_id, uris: any(uri.endswith(name) for uri in uris),
    )
    for test in tests if name else ():
        found = [one for one in listed if test(one[0], one[3])]
        if len(found) == 1:
            _, shard, place, _ = found[0]
            return run.shard_images(shard)[place], shard
        if found:
            few = [f"{image_id} ({uris[0]})" for image_id, _, _, uris in found[:_FEW]]
            raise UserError(
                f"'{name}' fits {len(found)} images of '{run.root}': {', '.join(few)}"
                f"{', ...' if len(found) > _FEW else ''}; give more of the id or of the path"
            )
    names = [one for image_id, _, _, uris in listed for one in (image_id, _tail(uris[0]))]
    near = difflib.get_close_matches(name, names, n=_FEW, cutoff=0.5) or names[: 2 * _FEW : 2]
    raise UserError(
        f"'{run.root}' has no image '{name}' among its {len(listed)}; give an id or its beginning, "
        f"or the end of a path, for example {', '.join(near) or '(there are none)'}"
    )


def _tail(uri: str) -> str:
    return uri.rpartition("/")[2]


def _held(
    run: Run, key: str, shard: str, image_id: str
) -> tuple[dict[str, str] | None, dict[str, Any]]:
    """A fragment's footer, None without a readable one, and its values for the image.

    Opened once, so that a driver at work can not put another fragment between the two.
    """
    try:
        return publication.look(run.fragment(key, shard), partial(_footer_and_row, image_id))
    except FileNotFoundError:  # Superseded at this moment.
        return None, {}


def _footer_and_row(
    image_id: str, file: pa.NativeFile
) -> tuple[dict[str, str] | None, dict[str, Any]]:
    footer = publication.metadata(file)
    if footer is None:
        return None, {}
    heavy = (DEPTH_MAP.name, f"{SOURCES.name}.")
    names = [n for n in pq.read_schema(file).names if not n.startswith(heavy)]
    wanted = [("image_id", "=", image_id)]
    rows = pq.read_table(file, columns=names, filters=wanted).to_pylist()
    return footer, dict(rows[0]) if rows else {}


def _made(key: str, row: Mapping[str, Any], identity: Mapping[str, Any], why: str) -> Made:
    models, options = tuple(identity.get("weights", ())), identity.get("options", {})
    if not row:
        return Made(key, "missing", "its fragment has no row for this image")
    if row.get(ERROR) is not None:
        return Made(key, "failed", str(row[ERROR]), models, options)
    if row.get(SKIPPED) == PENDING:
        return Made(key, "missing", "still to come; the next build goes on with it")
    if row.get(SKIPPED) is not None:
        nothing = "the import has no file for this image"
        why_not = nothing if row[SKIPPED] == _IMPORT else f"{row[SKIPPED]} gave it nothing"
        return Made(key, "skipped", why_not, models, options)
    return Made(key, "stale" if why else "done", why, models, options)


def _why_missing(until: str | None, key: str) -> str:
    return "not computed yet" + (f"; the last build ended at {until}" if until else "")


def _why_stale(
    key: str, footers: Mapping[str, dict[str, str] | None], wanted: Mapping[str, Mapping[str, Any]]
) -> str:
    """What differs from the run's preset and from the parents' fragments; "" if nothing does.

    Weights and prompts are not looked at: only the run is read.
    """
    footer = footers.get(key)
    if footer is None or "identity" not in footer:
        return ""
    identity = json.loads(footer["identity"])
    options = identity["options"]
    asked = wanted.get(key, {}).items()
    changed = [n for n, value in asked if n in options and not _same(value, options[n])]
    if changed:
        return f"option {', '.join(changed)} changed since"
    for parent, fingerprint in identity["parents"].items():
        now = footers.get(parent)
        if now is None or now.get("fingerprint") != fingerprint:
            return f"{parent} changed since"
        if _why_stale(parent, footers, wanted):
            return f"{parent} is stale"
    return ""


def _same(asked: Any, used: Any) -> bool:
    """Whether a preset's value is the one used; a table may leave options at their defaults."""
    if isinstance(asked, dict) and isinstance(used, dict):
        return all(name in used and _same(value, used[name]) for name, value in asked.items())
    return bool(asked == used)
