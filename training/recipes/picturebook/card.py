"""Write the model card of the embedded checkpoints from what their recipes recorded.

    grand picturebook render --out world -n 200 --seed 31337
    grand build --images world/images --out world/run
    grand eval labels --run world/run --truth world/truth --json > scores.json
    python -m training.recipes.picturebook.card --scores scores.json --notes \
        training/recipes/picturebook/failures.md

Numbers come from each `training.json` and from that evaluation; the notes are counted on that run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from grand_pipeline.weights import EMBEDDED

ROLES = {
    "owl_vit": "OwlViTForObjectDetection: open-vocabulary detector, phrase grounder",
    "owl_vit_small": "OwlViTForObjectDetection: second detector, trained to err differently",
    "sam": "SamModel: automatic and box-prompted masks",
    "depth": "DPTForDepthEstimation: relative inverse depth",
    "siglip_scene": "SiglipModel: tags and landmark of whole images",
    "siglip_crop": "SiglipModel: labels and colours of crops",
    "blip": "BlipForConditionalGeneration: short captions",
    "spacy": "spaCy pipeline: part of speech and dependencies for noun phrases",
    "llm": "LlamaForCausalLM: dense caption and context from a scene graph",
}
CARD = EMBEDDED / "README.md"
_MIB = 2**20

_HEAD = """# Embedded picture-book checkpoints

Real architectures in miniature, trained from nothing by this project on scenes that it renders
itself (`grand_pipeline/picturebook`). They know thirty things, eleven colours, seven kinds of
ground and five kinds of scene, all drawn in one style. On anything else their output means
nothing. They exist so that the whole pipeline runs offline in seconds and can be judged against
exact truth. Licence: that of the project; no outside data or weights went into them.
"""


def card(scores: dict[str, Any] | None, notes: str) -> str:
    """The card's Markdown: how each checkpoint was made, what the whole preset scores, notes."""
    lines = [_HEAD, "## How each was made", ""]
    lines += ["| checkpoint | role | MiB | seed | steps | images | minutes | machine |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    made = {name: _training(EMBEDDED / name) for name in ROLES}
    for name, facts in made.items():
        cells = [_text(facts.get(key)) for key in ("seed", "steps", "images", "minutes", "machine")]
        size = f"{_size(EMBEDDED / name) / _MIB:.1f}"
        lines.append(f"| `{name}` | {ROLES[name]} | {size} | {' | '.join(cells)} |")
    total = sum(_size(EMBEDDED / name) for name in ROLES) / _MIB
    lines += ["", f"Together {total:.1f} MiB (float16 safetensors). Commands:", "", "```"]
    lines += [command for facts in made.values() for command in facts["commands"]]
    lines += ["```", "", "Scores that the recipes measured on unseen scenes, model by model:", ""]
    for name, facts in made.items():
        parts = [f"{key} {value:.3f}" for key, value in facts["scores"].items()]
        note = f". Note: {facts['note']}" if "note" in facts else ""
        lines.append(f"- `{name}`: {', '.join(parts)}{note}.")
    if scores is not None:
        lines += ["", "## The whole preset", "", *_scores(scores)]
    return "\n".join(lines) + "\n" + (f"\n{notes.strip()}\n" if notes.strip() else "")


def _scores(scores: dict[str, Any]) -> list[str]:
    intro = (
        f"`grand build` and `grand eval labels` on {scores['images']:.0f} scenes of a seed never "
        "used in training:"
    )
    rows = [f"| `{key}` | {_text(value)} |" for key, value in scores.items()]
    return [intro, "", "| measure | value |", "|---|---|", *rows]


def _training(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "training.json").read_text("utf-8"))
    return facts


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return "-" if value is None else str(value)


def main() -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", type=Path, help="output of grand eval labels --json")
    parser.add_argument("--notes", type=Path, help="Markdown to append: remaining failures")
    options = parser.parse_args()
    scores = json.loads(options.scores.read_text("utf-8")) if options.scores else None
    notes = options.notes.read_text("utf-8") if options.notes else ""
    CARD.write_text(card(scores, notes), "utf-8")


if __name__ == "__main__":
    main()
