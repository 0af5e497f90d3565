"""How fast published rows become training batches, beside what decoding the pictures alone takes.

    python -m benchmarks.training_data [-n 2000] [--objects 20] [--workers 2] [--json]

Writes a run of synthetic rows (objects with masks and votes, captions, phrases, relations) over 64
JPEG pictures of 640 x 480 as noisy as photographs, once with files and once with embedded bytes,
and measures: opening it, rows per second as typed values with the views of grounding (no picture),
pictures per second that are decoded and resized and nothing else (`bare`), and pictures per second
through `batches` with X-VLM's augmentation. `reader_share` is the part of a batch's time that is
not bare decoding (large pictures are decoded smaller, and the bare ones are not). Times are CPU
time of this process, which on an idle machine is wall time; with `--workers` processes it is wall
time.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.random import Generator
from PIL import Image, ImageFilter

from grand_pipeline import codec, geometry, images, publication
from grand_pipeline.columns import (
    ANNOTATION_SCHEMA,
    Annotation,
    ImageRow,
    NamedAttribute,
    PublishedObject,
)
from grand_pipeline.store import ANNOTATIONS, Run
from grand_pipeline.types import Caption, DenseCaption, PhraseLink, Relation, Rle, Span, Vote
from training.data import order, source, transforms, views
from training.data.batches import batches
from training.data.frame import Pixels
from training.data.rows import Row
from training.data.source import Rows

clock = time.process_time
SIZE = (480, 640)
PICTURES = 64
SHARD = 512
BATCH = 64
SIDE = (224, 224)
SEED = 3_900_011


def pictures(folder: Path, count: int = PICTURES) -> list[Path]:
    """JPEG files with the noise and the edges of photographs, about 100 KB each."""
    rng = np.random.default_rng(SEED)
    paths = []
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8))
        smooth = coarse.resize(SIZE[::-1], Image.Resampling.BICUBIC)
        grain = Image.fromarray(rng.integers(0, 256, (*SIZE, 3), np.uint8))
        mixed = Image.blend(smooth, grain.filter(ImageFilter.GaussianBlur(1)), 0.3)
        paths.append(folder / f"{number}.jpg")
        mixed.save(paths[-1], quality=90)
    return paths


def mask(box: tuple[float, float, float, float]) -> Rle:
    """An ellipse in a box."""
    x1, y1, x2, y2 = box
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    inside = ((x - (x1 + x2) / 2) / (x2 - x1)) ** 2 + ((y - (y1 + y2) / 2) / (y2 - y1)) ** 2
    return geometry.rle_encode(inside < 0.25)


def annotation(number: int, uri: str, count: int, rng: Generator) -> Annotation:
    """A row as a build with several detectors writes it."""
    objects = []
    for place in range(count):
        x, y = rng.uniform(0, 540), rng.uniform(0, 400)
        box = (x, y, x + rng.uniform(20, 100), y + rng.uniform(20, 80))
        votes = tuple(Vote(f"detector_{n}", "red ball", 0.5) for n in range(3))
        named = (NamedAttribute("describer", "a shiny red ball"),)
        objects.append(
            PublishedObject(
                *(place, "object", "thing", box, 0.5, "ball", votes, named, mask(box), "box", 0.9),
                *(0.5, "Foreground", 0),
            )
        )
    text = " and ".join(f"ball number {place}" for place in range(count))
    found = [text.index(f"number {place}") for place in range(count)]
    spans = tuple(Span(start, start + 6, (place,)) for place, start in enumerate(found))
    return Annotation(
        image_id=hashlib.sha256(str(number).encode()).hexdigest()[:32],
        uri=uri,
        width=SIZE[1],
        height=SIZE[0],
        tags=(),
        landmark=None,
        objects=tuple(objects),
        phrases=tuple(PhraseLink(f"ball number {n}", (n,), "made") for n in range(count)),
        relations=tuple(Relation(n, "to the left of", n - 1, "made") for n in range(1, count)),
        captions=(Caption("made", text, spans), Caption("other", text, spans)),
        scene_graph=text,
        dense_caption=DenseCaption(text, spans, "made", "stop", True),
        context=None,
        errors=(),
    )


def write(root: Path, files: Sequence[Path], rows: int, objects: int, embed: bool) -> Run:
    """A run of that many rows; pictures are used again and again."""
    rng = np.random.default_rng(SEED)
    contents = [path.read_bytes() for path in files]
    patterns = [annotation(n, "", objects, rng) for n in range(len(files))]
    run = Run.create(root, {})
    for first in range(0, rows, SHARD):
        held, listed = [], []
        for number in range(first, min(rows, first + SHARD)):
            at = number % len(files)
            plain = codec.encode(patterns[at])
            plain["image_id"] = hashlib.sha256(str(number).encode()).hexdigest()[:32]
            plain["uri"] = str(files[at])
            data = contents[at] if embed else None
            listed.append(
                ImageRow(plain["image_id"], plain["uri"], (), 640, 480, "JPEG", None, data)
            )
            held.append(plain)
        shard = run.add_shard(listed)
        table = pa.Table.from_pylist(held, schema=ANNOTATION_SCHEMA)
        footer = {"digest": run.shard_digest(shard), "fingerprint": "benchmark"}
        publication.publish(table, run.fragment(ANNOTATIONS, shard), footer)
    return run


def sample(row: Row, rng: Generator) -> tuple[Pixels, int]:
    """What an X-VLM recipe does with a row."""
    seen = transforms.random_resized_crop(row, rng, SIDE)
    seen = transforms.random_flip(seen, rng)
    said = len(views.region_text(seen)) + len(views.image_caption(seen))
    return seen.pixels(), said


def stacked(samples: list[tuple[Pixels, int]]) -> tuple[Pixels, list[int]]:
    """Pixels (n, h, w, 3), and how many texts each has."""
    return np.stack([pixels for pixels, _ in samples]), [said for _, said in samples]


def bare(files: Sequence[Path], count: int) -> float:
    """Pictures per second that are decoded and resized and nothing else."""
    data = [path.read_bytes() for path in files]
    started = clock()
    for number in range(count):
        images.decode(data[number % len(data)]).resize(SIDE, Image.Resampling.BICUBIC)
    return count / (clock() - started)


def typed(rows: Rows, count: int) -> float:
    """Rows per second as values of the grounding views, in training order, without pictures."""
    epoch = order.shuffled(rows, 0, 0)
    done = 0
    started = clock()
    for window in itertools.cycle(range(len(epoch.windows))):
        block = source.load(rows, epoch.windows[window])
        for row in source.rows_of(rows, block, epoch.numbers(rows, window)):
            views.region_text(row)
            views.grounded_caption(row)
            done += 1
        if done >= count:
            return done / (clock() - started)
    raise AssertionError("an epoch has windows")


def through(rows: Rows, count: int, workers: int) -> float:
    """Pictures per second through `batches`, the first two batches of each worker not counted."""
    made = batches(rows, sample, stacked, BATCH, workers=workers)
    for _ in range(1 + 2 * workers):
        next(made)
    steps = max(1, count // BATCH)
    now = time.perf_counter if workers else clock
    started = now()
    for _ in itertools.islice(made, steps):
        pass
    return steps * BATCH / (now() - started)


def measure(count: int, objects: int, workers: int) -> dict[str, float]:
    """All figures."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = pictures(root)
        run, embedded = root / "run", root / "embedded"
        write(run, files, count, objects, embed=False)
        write(embedded, files, count, objects, embed=True)
        views_used = (views.image_caption, views.region_text, views.grounded_caption)
        started = clock()
        rows = views.require(run, *views_used)
        opened = clock() - started
        inside = views.require(embedded, *views_used)
        alone, one = bare(files, 512), through(rows, 512, 0)
        found = {
            "rows": len(rows),
            "open_seconds": opened,
            "rows_per_second": typed(rows, 2000),
            "rows_per_second_with_masks": typed(
                views.require(run, *views_used, views.segmentation), 2000
            ),
            "bare_images_per_second": alone,
            "images_per_second": one,
            "reader_share": 1 - one / alone,
            "images_per_second_embedded": through(inside, 512, 0),
            f"images_per_second_{workers}_workers": through(rows, 1024, workers),
        }
        found["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        workers_peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        return found | {"peak_rss_worker_mb": workers_peak}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("-n", type=int, default=2000, help="rows of the run")
    parser.add_argument("--objects", type=int, default=20, help="objects per row")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    figures = measure(given.n, given.objects, given.workers)
    if given.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:32} {value:10.2f}")


if __name__ == "__main__":
    main()
