"""Parameters of the models that stages can load, counted at their published size.

    python -m benchmarks.published_sizes [HUB_ID ...] [--json]

Every model is built from its authors' configuration on torch's meta device: all shapes, no memory
and no weights, so this runs in seconds anywhere. What it shows is that the class, at the size that
is published, has as many parameters as the model table says; nothing about what weights know.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence

import torch

from benchmarks.published import BUILDERS, Builder
from grand_pipeline.errors import UserError, suggest


def parameters(build: Builder) -> tuple[int, str]:
    """How many parameters the model has, shared ones once, and its class."""
    with torch.device("meta"):
        model = build()
    return sum(weight.numel() for weight in model.parameters()), type(model).__name__


def count(hub_ids: Sequence[str]) -> Mapping[str, int]:
    """Hub id -> parameters; of every known model where none is named.

    Raises UserError for a model that has no builder.
    """
    for name in hub_ids:
        if name not in BUILDERS:
            raise UserError(
                f"nothing builds '{name}' at its published size.{suggest(name, BUILDERS)}"
            )
    return {name: parameters(BUILDERS[name])[0] for name in hub_ids or BUILDERS}


def table(counts: Mapping[str, int]) -> str:
    """The counts for a reader; disk is what 32-bit weights take."""
    width = max(len(name) for name in counts)
    lines = [f"{'model':<{width}}  {'parameters':>13}  {'GB in float32':>13}"]
    lines += [f"{name:<{width}}  {n:>13,}  {4 * n / 1e9:>13.2f}" for name, n in counts.items()]
    return "\n".join(lines)


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("hub_id", nargs="*", help="models; all that can be built if none")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    counts = count(given.hub_id)
    print(json.dumps(counts, indent=2) if given.json else table(counts))


if __name__ == "__main__":
    main()
