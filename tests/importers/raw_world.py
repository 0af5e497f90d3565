"""A small folder of predictions as GranD's models leave them, made up: two images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from grand_pipeline.geometry import rle_encode
from tests.fakes import png

WIDTH, HEIGHT = 200, 100
DOG, BALL = [10.0, 20.0, 90.0, 80.0], [120.0, 40.0, 150.0, 70.0]
CAPTION = "a brown dog beside a red ball"
SECOND = "the dog's ball lies in the grass"
FIRST = "first.jpg"


def write(path: Path, value: Any) -> Path:
    """A JSON (or, for a text, plain) file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), "utf-8")
    return path


def pictures(folder: Path) -> Path:
    """`first.jpg` and `second.png`, both 200 x 100."""
    folder.mkdir(parents=True)
    (folder / "first.jpg").write_bytes(png(1, (WIDTH, HEIGHT)))
    (folder / "second.png").write_bytes(png(2, (WIDTH, HEIGHT)))
    return folder


def mask(box: list[float], size: tuple[int, int] = (HEIGHT, WIDTH)) -> dict[str, Any]:
    """The filled box as COCO run lengths."""
    x1, y1, x2, y2 = (int(value) for value in box)
    filled = np.zeros(size, bool)
    filled[y1:y2, x1:x2] = True
    return {"size": list(size), "counts": rle_encode(filled).counts}


def seen(box: list[float], score: float, label: str, **more: Any) -> dict[str, Any]:
    """A detection as GranD writes it."""
    return {"bbox": box, "score": score, "label": label, **more}


def predictions(folder: Path) -> Path:
    """Every step's file about `first.jpg`, and one detector's about `second.png`."""

    def keyed(step: str, value: Any, folder_name: str | None = None) -> None:
        write(folder / (folder_name or step) / "first.json", {FIRST: value})

    keyed("tag2text", {"tag2text": {"tags": ["dog", "ball"], "scores": [0.7, 0.9]}})
    keyed("ram", {"ram": {"tags": ["grass"], "scores": [0.8]}})
    keyed("landmark", {"landmark": {"category": "Outdoor scene", "fine_category": "Rural"}})
    keyed("co_detr", {"co_detr": [seen(DOG, 0.95, "dog"), seen(BALL, 0.6, "sports_ball")]})
    eva = [seen(DOG, 0.9, "dog", sam_mask=mask(DOG)), seen(BALL, 0.8, "ball", sam_mask=mask(BALL))]
    keyed("eva-02-01", {"eva-02-01": eva})
    keyed("eva-02-02", {"eva-02-01": [seen(DOG, 0.85, "dog")]})  # The published fault D1.
    keyed("owl_vit", {})
    keyed("pomp", {"pomp": []})
    grit = {"bbox": DOG, "score": 0.8, "description": "a brown dog"}
    keyed("grit", {"grit": [grit]})
    keyed("blip2", {"blip2": CAPTION})
    keyed("llava", {"llava": {"llava": SECOND}})
    phrases = [
        {"bbox": DOG, "label": "dog", "phrase": "a brown dog"},
        {"bbox": BALL, "label": "ball", "phrase": "the dog 's ball"},
        {"bbox": BALL, "label": "cat", "phrase": "a cat"},
    ]
    keyed("mdetr-re", {"mdetr-re": phrases})
    dog = {"bbox": DOG, "labels": ["dog"], "id": 0, "score": 0.9}
    dog["attributes"] = ["Assistant: a dog that is brown", "a brown dog"]
    ball = {"bbox": BALL, "labels": ["sports_ball", "ball"], "id": 4, "attributes": None}
    annotation = {"objects": [dog, ball], "floating_objects": []}
    keyed("gpt4roi", annotation, "level-2-processed_gpt4roi")
    write(folder / "level-2-processed_eva_clip" / "first.json", {"4": "ball"})
    draft = "A brown dog stands on grass. A red ball lies beside it."
    write(folder / "level-3-vicuna-13B" / "first.txt", draft)
    write(folder / "level-4-vicuna_13B" / "first.txt", "Dogs like to play.")
    (folder / "midas").mkdir()
    ramp = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
    name = "first_min_-10.0000_max_245.0000.jpg"
    Image.fromarray(ramp).save(folder / "midas" / name, quality=95)
    write(folder / "co_detr" / "second.json", {"second.png": {"co_detr": [seen(DOG, 0.5, "cat")]}})
    return folder
