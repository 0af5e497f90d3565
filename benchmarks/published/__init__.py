"""Models at published size, with random weights: hub id -> what builds it.

Built under `torch.device("meta")` a model has shapes and no memory, so its parameters can be
counted anywhere. One module per role, each with a `BUILDERS` table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.published import depth, detection, language, masks, towers, vlms

Builder = Callable[[], Any]
"""Makes the model on the device that is torch's default at the time."""

BUILDERS: Mapping[str, Builder] = {
    **detection.BUILDERS,
    **masks.BUILDERS,
    **depth.BUILDERS,
    **towers.BUILDERS,
    **vlms.BUILDERS,
    **language.BUILDERS,
}
"""Every model that can be built at published size, by the hub id of `grand_pipeline.zoo`."""
