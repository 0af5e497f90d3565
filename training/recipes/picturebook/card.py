"""Write the model card and the learning curves of a folder of checkpoints.

    python -m training.recipes.picturebook.card [FOLDER]

Everything comes from files that are kept with the project: `training.json` and `log.jsonl` of each
checkpoint, `scores.json` (`grand eval labels --json`) and `times.json` (`benchmarks.stage_times
--json`) of the folder, and the notes in `failures.md` beside this recipe. `make` calls it last.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grand_pipeline.weights import EMBEDDED, RECORDS
from training import plots
from training.logs import read
from training.recipes.picturebook import curves
from training.recipes.picturebook.export import RECORD

ROLES = {
    "owl_vit": "OwlViTForObjectDetection: open-vocabulary detector",
    "owl_vit_small": "OwlViTForObjectDetection: second detector, errs differently; grounds phrases",
    "sam": "SamModel: automatic and box-prompted masks",
    "depth": "DPTForDepthEstimation: relative inverse depth",
    "siglip_scene": "SiglipModel: tags of whole images",
    "siglip_crop": "SiglipModel: labels and colours of crops, kind of place",
    "blip": "BlipForConditionalGeneration: short captions",
    "spacy": "spaCy pipeline: part of speech and dependencies for noun phrases",
    "llm": "LlamaForCausalLM: dense caption and context from a scene graph",
}
TARGETS: dict[str, float | str] = {
    "objects.ap50": 0.9,
    "objects.ap": 0.65,
    "objects.ap50_seen_phrases": 0.85,
    "objects.ap50_heldout": 0.75,
    "objects.ap50_hypernyms": 0.75,
    "masks.miou": 0.85,
    "masks.coverage": 1.0,
    "masks.auto_recall50": 0.8,
    "depth.pair_order": 0.95,
    "depth.delta1": "depth.delta1_mean_map",
    "attributes.color_accuracy": 0.97,
    "relations.f1": 0.85,
    "captions.mention_precision": 0.95,
    "captions.mention_recall": 0.7,
    "phrases.accuracy": 0.9,
    "dense_caption.class_true": 0.95,
    "dense_caption.color_true": 0.95,
    "dense_caption.relation_true": 0.95,
    "dense_caption.count_true": 0.95,
    "dense_caption.mask_recall": 0.75,
}
"""Least value of a measure, or the measure that it must exceed."""
MOST_MIB, LEAST_IMAGES_PER_SECOND = 40, 4
CARD, CURVE, SCORES, TIMES = "README.md", "curve.svg", "scores.json", "times.json"
FAILURES = "failures.txt"
NOTES = Path(__file__).parent / "failures.md"
_MIB = 2**20

_HEAD = """# Embedded picture-book checkpoints

Real architectures in miniature, trained from nothing by this project on scenes that it renders
itself (`grand_pipeline/picturebook`). They know thirty things, eleven colours, seven kinds of
ground and five kinds of scene, all drawn in one style. On anything else their output means
nothing. They exist so that the whole pipeline runs offline in seconds and can be judged against
exact truth. Licence: that of the project; no outside data or weights went into them.

Training never sees 26 pairs of class and colour (`vocabulary.HELD_OUT`). So that shape is learned
apart from colour all the same, the recipes paint a quarter of the things in tones that no colour
word names and that are far from what is held out (`vocabulary.UNNAMED`). The checkpoints whose
notes below do not say so were trained before that.

`make -C training/recipes/picturebook` trains all of them again, measures them and writes this page.
"""


def pages(folder: Path) -> dict[str, str]:
    """The card and the curves of the checkpoints in `folder`, by path in it."""
    made = {name: _json(folder / name / RECORD) for name in ROLES}
    sizes = {name: _size(folder / name) for name in ROLES}
    drawn = {f"{name}/{CURVE}": curve for name in ROLES if (curve := _curve(folder, name))}
    lines = [_HEAD, *_training(made, sizes), *_curves(drawn)]
    if (folder / SCORES).is_file():
        lines += _preset(_json(folder / SCORES))
    if (folder / TIMES).is_file():
        lines += _times(_json(folder / TIMES))
    lines += ["", NOTES.read_text("utf-8").strip()]
    if (folder / FAILURES).is_file():
        counted = (folder / FAILURES).read_text("utf-8").rstrip()
        lines += ["", "Counted by `grand eval failures`:", "", "```", counted, "```"]
    return drawn | {CARD: "\n".join(lines) + "\n"}


def _training(made: Mapping[str, dict[str, Any]], sizes: Mapping[str, float]) -> list[str]:
    lines = ["## How each was made", ""]
    keys = ("seed", "steps", "images", "minutes", "machine")
    rows = [
        [f"`{name}`", ROLES[name], f"{sizes[name]:.1f}", *(_text(facts.get(k)) for k in keys)]
        for name, facts in made.items()
    ]
    lines += _table(["checkpoint", "role", "MiB", *keys], rows)
    total = sum(sizes.values())
    over = ", **missed**" if total > MOST_MIB else ""
    lines += [
        "",
        f"Together {total:.1f} MiB (float16 safetensors); the target is {MOST_MIB}{over}.",
    ]
    lines += ["", "Commands, each in the order in which they ran:"]
    lines += ["", "```", *(c for facts in made.values() for c in facts["commands"]), "```", ""]
    old = [f"`{name}`" for name, facts in made.items() if "phases" not in facts]
    if old:
        lines += [
            f"Made with earlier forms of the recipes: {', '.join(old)}.",
            "",
        ]
    lines += ["Scores that the recipes measured on unseen scenes, model by model:", ""]
    for name, facts in made.items():
        parts = [f"{key} {value:.3f}" for key, value in facts["scores"].items()]
        note = f". Note: {facts['note']}" if "note" in facts else ""
        lines.append(f"- `{name}`: {', '.join(parts)}{note}.")
    return lines


def _curves(drawn: Mapping[str, str]) -> list[str]:
    lines = ["", "## Learning curves", ""]
    lines += [f"![{Path(path).parent}]({path})\n" for path in drawn]
    without = [f"`{name}`" for name in ROLES if f"{name}/{CURVE}" not in drawn]
    return lines + ([f"No curve was kept of {', '.join(without)}."] if without else [])


def _preset(scores: Mapping[str, Any]) -> list[str]:
    intro = (
        f"`grand build` and `grand eval labels` on {scores['images']:.0f} scenes of a seed never "
        "used in training. Missed targets are marked."
    )
    rows = [[f"`{key}`", _text(value), _target(key, scores)] for key, value in scores.items()]
    return ["", "## The whole preset", "", intro, "", *_table(["measure", "value", "target"], rows)]


def _target(key: str, scores: Mapping[str, Any]) -> str:
    """What the measure should reach, and whether it does."""
    wanted = TARGETS.get(key)
    if wanted is None:
        return ""
    above = isinstance(wanted, str)
    least = scores.get(str(wanted)) if above else wanted
    value = scores[key]
    if value is None or least is None:
        return f">= {_text(least)}, not measured"
    reached = value > least if above else value >= least
    return f"{'>' if above else '>='} {_text(least)}{'' if reached else ', **missed**'}"


def _times(times: Mapping[str, Any]) -> list[str]:
    ranked = sorted(times["stages"].items(), key=lambda item: -item[1])
    rows = [[f"`{key}`", f"{value:.1f}"] for key, value in ranked]
    rows.append(["all", f"{times['total_ms']:.1f}"])
    slow = ", **missed**" if times["images_per_second"] < LEAST_IMAGES_PER_SECOND else ""
    intro = (
        f"Model time per image on one core, over {times['images']} scenes "
        f"({times['machine']}): {times['images_per_second']:.1f} images per second; the target is "
        f"{LEAST_IMAGES_PER_SECOND}{slow}."
    )
    return ["", "## Time per stage", "", intro, "", *_table(["stage", "ms"], rows)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def _curve(folder: Path, name: str) -> str | None:
    rows = read(folder / name / curves.KEPT)
    return plots.losses(rows, name) if rows else None


def _json(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return facts


def _size(folder: Path) -> float:
    """MiB of what is loaded."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.name not in RECORDS)
    return sum(path.stat().st_size for path in files) / _MIB


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return "-" if value is None else str(value)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=EMBEDDED, help="of checkpoints")
    folder = parser.parse_args(arguments).folder
    for old in folder.glob(f"*/{CURVE}"):
        old.unlink()
    for path, text in pages(folder).items():
        (folder / path).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
