"""Write scenes as image files with a truth run: the published rows and the exact depth maps."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from grand_pipeline import __version__, codec
from grand_pipeline.columns import (
    ANNOTATION_SCHEMA,
    DEPTH_MAP,
    Annotation,
    ImageRow,
    NamedAttribute,
    PublishedObject,
)
from grand_pipeline.errors import UserError
from grand_pipeline.geometry import rle_encode
from grand_pipeline.graph import GraphNode, SceneGraph, by_label
from grand_pipeline.ingest import content_id
from grand_pipeline.picturebook import language
from grand_pipeline.picturebook.relations import scene_relations
from grand_pipeline.picturebook.render import render
from grand_pipeline.picturebook.scene import Scene
from grand_pipeline.store import ANNOTATIONS, ERROR, SKIPPED, Run
from grand_pipeline.types import (
    LAYERS,
    Caption,
    Context,
    DenseCaption,
    DepthMap,
    Landmark,
    PhraseLink,
    Relation,
    Span,
    Tag,
    Vote,
)

SOURCE = "truth"
DEPTH_STEP = "depth"  # folder below stages/ that holds the depth maps
CAPTIONS_PER_SCENE = 3
SHARD_SIZE = 64

_LAYER_ENDS = (0.1, 0.6, 0.85)  # of the way from the nearest to the farthest object
_GROUP_RADIUS = 0.25  # of the picture's diagonal, between box centres


def render_dataset(
    out: Path,
    n: int,
    seed: int,
    *,
    held_out: bool = True,
    progress: Callable[[int], None] = lambda done: None,
) -> Run:
    """Write scenes 0 .. n-1 of a series: `out/images/*.png` and the truth run `out/truth`.

    Args:
        out: a new folder, or one that holds neither `images` nor `truth`.
        n: how many scenes.
        seed: names the series.
        held_out: also draw the colour and class pairs that training never sees.
        progress: called with the number of scenes written so far.

    Raises UserError when `out` already holds a rendered set.
    """
    for name in ("images", "truth"):
        if (out / name).exists():
            raise UserError(f"'{out / name}' exists already; give a new folder to render into")
    images = (out / "images").absolute()
    images.mkdir(parents=True)
    series = {"seed": seed, "scenes": n, "held_out": held_out}
    run = Run.create(out / "truth", {"name": "picturebook truth", **series})
    for first in range(0, n, SHARD_SIZE):
        indices = range(first, min(n, first + SHARD_SIZE))
        scenes = [render(seed, index, held_out=held_out) for index in indices]
        rows = [_write_image(images / f"{scene.index:06d}.png", scene) for scene in scenes]
        shard = run.add_shard(rows)
        _commit(run, shard, rows, scenes, str(series))
        progress(indices.stop)
    return run


def _write_image(path: Path, scene: Scene) -> ImageRow:
    buffer = io.BytesIO()
    Image.fromarray(scene.image).save(buffer, "PNG", compress_level=4)
    data = buffer.getvalue()
    path.write_bytes(data)
    height, width = scene.ids.shape
    return ImageRow(content_id(data), str(path), (), width, height, "PNG", None, None)


def _commit(run: Run, shard: str, rows: list[ImageRow], scenes: list[Scene], series: str) -> None:
    """Commit the depth maps and the published rows of a shard."""
    footer = {
        "fingerprint": content_id(f"{SOURCE}:{series}".encode()),
        "digest": run.shard_digest(shard),
        "rows": str(len(rows)),
        "attempt": "0",
        "package_version": __version__,
    }
    names = [row.image_id for row in rows]
    maps = [DEPTH_MAP.encode(DepthMap.of(scene.depth)) for scene in scenes]
    nothing = pa.array([None] * len(rows), pa.string())
    columns = {
        "image_id": pa.array(names, pa.string()),
        DEPTH_MAP.name: pa.array(maps, DEPTH_MAP.type),
        ERROR: nothing,
        SKIPPED: nothing,
    }
    run.commit(DEPTH_STEP, shard, pa.table(columns), footer)
    published = [
        codec.encode(annotation(scene, row)) for scene, row in zip(scenes, rows, strict=True)
    ]
    table = pa.Table.from_pylist(published, schema=ANNOTATION_SCHEMA)
    run.commit(ANNOTATIONS, shard, table, footer)


def annotation(scene: Scene, row: ImageRow) -> Annotation:
    """The published row of a scene; every score is 1."""
    rng = np.random.default_rng([scene.seed, scene.index, 1])
    objects = _objects(scene)
    captions = tuple(_caption(language.caption(scene, rng)) for _ in range(CAPTIONS_PER_SCENE))
    dense = _caption(language.describe(scene, rng))
    relations = tuple(
        Relation(t.subject, t.predicate, t.object, SOURCE) for t in scene_relations(scene)
    )
    links = [
        PhraseLink(c.text[s.start : s.end], s.object_ids, SOURCE) for c in captions for s in c.spans
    ]
    phrases = tuple(dict.fromkeys(links))
    landmark = Landmark(*language.landmark(scene), SOURCE)
    nodes = tuple(
        GraphNode(o.id, o.label, o.attributes[0].text if o.attributes else "", o.layer, o.group)
        for o in objects
        if o.layer is not None and o.group is not None
    )
    texts = tuple(c.text for c in captions)
    things = {o.id for o in objects if o.kind == "thing"}
    counted = by_label(node for node in nodes if node.object_id in things)
    graph = SceneGraph(nodes, texts, phrases, relations, landmark, counted)
    return Annotation(
        image_id=row.image_id,
        uri=row.uri,
        width=row.width,
        height=row.height,
        tags=tuple(Tag(name, 1.0, SOURCE) for name in language.tags(scene)),
        landmark=landmark,
        objects=objects,
        phrases=phrases,
        relations=relations,
        captions=captions,
        scene_graph=graph.text(),
        dense_caption=DenseCaption(dense.text, dense.spans, SOURCE, "stop", True),
        context=Context(language.context(scene, rng), SOURCE, "stop"),
        errors=(),
    )


def _caption(caption: language.Caption) -> Caption:
    spans = tuple(Span(start, end, ids) for start, end, ids in caption.spans)
    return Caption(SOURCE, caption.text, spans)


def _objects(scene: Scene) -> tuple[PublishedObject, ...]:
    layers = depth_layers(np.array([o.depth for o in scene.objects]))
    groups = _groups(np.array([o.box for o in scene.objects]), layers, scene.ids.shape)
    return tuple(
        PublishedObject(
            id=o.id,
            status="object",
            kind=o.kind,
            box=o.box,
            score=1.0,
            label=o.name,
            votes=(Vote(SOURCE, o.name, 1.0),),
            attributes=(NamedAttribute(SOURCE, o.color),) if o.color else (),
            mask=rle_encode(scene.ids == o.id),
            mask_source="given",
            mask_score=1.0,
            depth=o.depth,
            layer=layers[o.id],
            group=groups[o.id],
        )
        for o in scene.objects
    )


def depth_layers(depths: npt.NDArray[np.floating]) -> list[str]:
    """The layer of every object by its depth between the nearest and the farthest one."""
    span = float(depths.max() - depths.min())
    shares = (depths.max() - depths) / span if span > 0 else np.full(len(depths), 0.5)
    return [LAYERS[sum(bool(share >= end) for end in _LAYER_ENDS)] for share in shares]


def _groups(boxes: npt.NDArray[np.floating], layers: list[str], size: tuple[int, ...]) -> list[int]:
    """Group numbers: inside a layer, what lies round the first object without a group."""
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    radius = _GROUP_RADIUS * float(np.hypot(size[0], size[1]))
    groups = [-1] * len(layers)
    number = 0
    for layer in LAYERS:
        inside = [i for i, name in enumerate(layers) if name == layer]
        while inside:
            distances = np.hypot(*(centers[inside] - centers[inside[0]]).T)
            near = [i for i, far in zip(inside, distances, strict=True) if far < radius]
            for i in near:
                groups[i] = number
            inside = [i for i in inside if groups[i] < 0]
            number += 1
    return groups
