from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from stages import sam, sam2
from tests.tiny import masks
from tests.tiny.checkpoints import checkpoint
from tests.tiny.records import record

BOXES = np.array([[5, 5, 30, 30], [0, 0, 60, 40]], np.float32)
SIZE = (40, 60)


def test_masks_are_those_of_the_whole_model() -> None:
    live = sam2.load(checkpoint(masks.sam2), "cpu", "float32")
    image = record(SIZE).image
    square = np.asarray(image.resize((64, 64), Image.Resampling.BILINEAR)) / 255
    pixels = torch.tensor((square - sam2.MEAN) / sam2.STD, dtype=torch.float32)
    scaled = BOXES * np.array([64 / 60, 64 / 40, 64 / 60, 64 / 40], np.float32)
    with torch.inference_mode():
        out = live.model(
            pixel_values=pixels.permute(2, 0, 1)[None],
            input_boxes=torch.tensor(scaled[None]),
            multimask_output=False,
        )
    expected = (interpolate(out.pred_masks[0], SIZE, mode="bilinear")[:, 0] > 0).numpy()
    model = sam.Sam(live)
    (embedded,) = model.embed([image], [SIZE])
    logits, scores = model.by_boxes(embedded, BOXES, per_call=1)
    assert (np.stack(model.full(embedded, logits)) == expected).mean() > 0.999
    assert np.allclose(scores, out.iou_scores[0, :, 0], atol=1e-5)


def test_a_video_checkpoint_is_loaded_without_its_memory() -> None:
    torch.manual_seed(0)
    whole, _ = masks.sam2_video()
    live = sam2.load(checkpoint(masks.sam2_video), "cpu", "float32")
    assert type(live.model).__name__ == "Sam2Model"
    known = whole.state_dict()
    for name, value in live.model.state_dict().items():
        assert torch.equal(value, known[name]), name
    assert set(known) - set(live.model.state_dict()), "a memory there was"
