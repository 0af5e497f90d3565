"""Train the two embedded SigLIP models: one reads crops of objects, one reads whole pictures.

    python -m training.recipes.picturebook.siglip crop --minutes 10 --out runs/crop --export DIR
    python -m training.recipes.picturebook.siglip scene --minutes 10 --out runs/scene --export DIR

Both are real `SiglipModel`s in miniature. Truth is known exactly here, so instead of pairing
each image with one caption every image is compared with every prompt of the batch (sigmoid, as
in SigLIP), and where prompts exclude each other (classes, colours, landmarks) also by softmax.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel, SiglipProcessor
from transformers.models.siglip.configuration_siglip import SiglipTextConfig, SiglipVisionConfig

from training.recipes.picturebook.fit import Schedule, fit, restore
from training.recipes.picturebook.scenes import (
    arguments,
    record,
    save_half,
)
from training.recipes.picturebook.siglip_batches import (
    CROP,
    SCENE,
    Batch,
    Shape,
    crop_batch,
    scene_batch,
)
from training.recipes.picturebook.siglip_scores import score_crops, score_scenes
from training.recipes.picturebook.text import (
    MAX_LENGTH,
    NAMES,
    build_tokenizer,
)


def build(shape: Shape) -> SiglipModel:
    """A tiny SiglipModel over the shared tokenizer."""
    tokenizer = build_tokenizer()
    config = SiglipConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=shape.width,
            intermediate_size=3 * shape.width,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.width // 32,
            image_size=shape.size,
            patch_size=shape.patch,
        ),
        text_config=SiglipTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=96,
            intermediate_size=192,
            num_hidden_layers=2,
            num_attention_heads=3,
            max_position_embeddings=MAX_LENGTH,
            projection_size=shape.width,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        ),
    )
    model = SiglipModel(config)
    with torch.no_grad():
        model.logit_scale.fill_(float(np.log(10.0)))
        model.logit_bias.fill_(-5.0)
    return model


def processor(shape: Shape) -> SiglipProcessor:
    """The processor that belongs to `build(shape)`; prompts need padding="max_length"."""
    images = SiglipImageProcessorPil(size={"height": shape.size, "width": shape.size})
    return SiglipProcessor(images, build_tokenizer())


class Student(nn.Module):
    """SigLIP with a throw-away head that names what is under every patch."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.siglip = build(shape)
        self.head = nn.Linear(shape.width, len(NAMES))


def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Sigmoid loss of all pairs, softmax losses of the groups, and the patch head's loss."""
    assert isinstance(model, Student)
    out = model.siglip(
        input_ids=batch.prompts, attention_mask=batch.mask, pixel_values=batch.pixels
    )
    logits, truth = out.logits_per_image.float(), batch.truth.float()
    pairs = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").sum(1).mean() / 8
    groups = torch.stack([_softmax_loss(logits[:, g], truth[:, g]) for g in batch.groups]).mean()
    total = pairs + groups
    terms = {"pairs": pairs, "groups": groups}
    if batch.patches is not None:
        tokens = out.vision_model_output.last_hidden_state
        named = model.head(tokens).float().flatten(0, 1)
        terms["patches"] = F.cross_entropy(named, batch.patches.flatten())
        total = total + terms["patches"]
    return {"loss": total, **terms}


def _softmax_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross entropy over the images that have one true prompt in the group."""
    has = truth.sum(1) == 1
    if not has.any():
        return logits.sum() * 0.0
    return F.cross_entropy(logits[has], truth[has].argmax(1))


def main() -> None:
    """Train (or go on training) one of the two models and write its checkpoint."""
    which = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if which not in ("crop", "scene"):
        raise SystemExit("say which: siglip {crop,scene} --out DIR ...")
    crops = which == "crop"
    batch = 96 if crops else 24
    args = arguments(__doc__ or "", steps=2000, batch=batch, lr=1.5e-3, scenes=150)
    shape = CROP if crops else SCENE
    torch.manual_seed(args.seed)
    student = Student(shape)
    if args.export_only:
        restore(student, args.out)
    else:
        make = crop_batch if crops else scene_batch
        schedule = Schedule(
            args.steps, args.batch, args.lr, seed=args.seed, minutes=args.minutes, ema=0.997
        )
        fit(student, lambda step: make(step, args.batch), loss, schedule, args.out)
    student.eval()
    judge = score_crops if crops else score_scenes
    scores = judge(student.siglip, processor(shape), args.scenes) if args.scenes else {}
    print(scores)
    if args.export:
        save_half(student.siglip, args.export, record(f"siglip {which}", args, scores))
        processor(shape).save_pretrained(args.export)


if __name__ == "__main__":
    main()
