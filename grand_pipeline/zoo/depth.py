"""Depth models (`depth`): relative inverse depth, or distances in metres."""

from __future__ import annotations

from dataclasses import replace

from grand_pipeline.zoo.model import Model

_ROLE = "depth"
_APACHE, _MIT, _RESEARCH = "Apache-2.0", "MIT", "CC-BY-NC-4.0"
_VERIFIED = "tiny end to end; published size on the meta device"
_RELATIVE = "relative inverse depth"
_METRES = "metres, stored as one over metres"
_SQUARE = "images are squeezed to 384 x 384"
_ASPECT = "images keep their aspect ratio, so those of one shape run together (or `squeeze`)"

_DPT = Model(_ROLE, "", "", _MIT, None, _VERIFIED, "", "DPTForDepthEstimation")
_ANYTHING = replace(_DPT, licence=_APACHE, architecture="DepthAnythingForDepthEstimation")
_SIZES: tuple[tuple[str, str, int], ...] = (
    ("Small", _APACHE, 24_785_089),
    ("Base", _RESEARCH, 97_470_785),
    ("Large", _RESEARCH, 335_315_649),
)
_V2 = "depth-anything/Depth-Anything-V2"


def _metric(place: str, metres: int) -> tuple[Model, ...]:
    return tuple(
        replace(
            _ANYTHING,
            name=f"Depth Anything V2 metric, {place.lower()}, {size}",
            hub_id=f"{_V2}-Metric-{place}-{size}-hf",
            licence=licence,
            parameters=parameters,
            note=f"{_METRES}, up to {metres}; {_ASPECT}",
        )
        for size, licence, parameters in _SIZES
    )


DEPTH: tuple[Model, ...] = (
    replace(
        _DPT,
        name="MiDaS 3.0, DPT-Hybrid",
        hub_id="Intel/dpt-hybrid-midas",
        licence=_APACHE,
        parameters=122_377_985,
        note=f"{_RELATIVE}; {_SQUARE}",
    ),
    replace(
        _DPT,
        name="MiDaS 3.0, DPT-Large",
        hub_id="Intel/dpt-large",
        licence=_APACHE,
        parameters=343_030_465,
        note=f"{_RELATIVE}; {_SQUARE}",
    ),
    replace(
        _DPT,
        name="MiDaS 3.1, BEiT-Base-384",
        hub_id="Intel/dpt-beit-base-384",
        parameters=110_761_153,
        note=f"{_RELATIVE}; {_ASPECT}",
    ),
    replace(
        _DPT,
        name="MiDaS 3.1, BEiT-Large-384",
        hub_id="Intel/dpt-beit-large-384",
        parameters=343_311_553,
        note=f"{_RELATIVE}; {_ASPECT}",
    ),
    replace(
        _DPT,
        name="MiDaS 3.1, BEiT-Large-512",
        hub_id="Intel/dpt-beit-large-512",
        parameters=343_987_393,
        note=f"{_RELATIVE}; GranD's model, which squeezes images (`squeeze`)",
    ),
    *(
        replace(
            _ANYTHING,
            name=f"Depth Anything V2 {size}",
            hub_id=f"{_V2}-{size}-hf",
            licence=licence,
            parameters=parameters,
            note=f"{_RELATIVE}; {_ASPECT}",
        )
        for size, licence, parameters in _SIZES
    ),
    *_metric("Indoor", 20),
    *_metric("Outdoor", 80),
    replace(
        _DPT,
        name="ZoeDepth, indoors and outdoors",
        hub_id="Intel/zoedepth-nyu-kitti",
        parameters=345_073_307,
        note=f"{_METRES}; one image at a time, because a batch votes on indoors or outdoors; not "
        "padded, because what undoes that needs torchvision",
        architecture="ZoeDepthForDepthEstimation",
    ),
)
"""What `depth` loads."""
