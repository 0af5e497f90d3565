"""Train the embedded BLIP captioner on the captions of rendered scenes.

    python -m training.recipes.picturebook.captioner --minutes 25 --out runs/blip --export DIR \
        --trunk runs/owl_a

A real `BlipForConditionalGeneration` in miniature. Its vision tower has the shape of the
embedded detector's, whose weights it can start from (`--trunk`, a detector's run folder). Every
picture is encoded once for several of its captions, and a throw-away head keeps naming class and
colour under every patch, which is what the words are about.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
)
from transformers.models.blip.configuration_blip import BlipTextConfig, BlipVisionConfig

from grand_pipeline.errors import GrandError
from grand_pipeline.picturebook import lexicon
from grand_pipeline.picturebook.language import caption
from grand_pipeline.picturebook.scene import Scene
from training.recipes.picturebook.caption_scores import score_captions
from training.recipes.picturebook.fit import STATE, Schedule, fit, restore
from training.recipes.picturebook.scenes import (
    CLIP_MEAN,
    CLIP_STD,
    TRAIN_SEED,
    arguments,
    draw_scenes,
    pixels,
    record,
    save_half,
)
from training.recipes.picturebook.text import COLOR_NAMES, NAMES, words

SIZE, PATCH, WIDTH, LAYERS, HEADS = 256, 16, 192, 6, 3
GRID = SIZE // PATCH
CAPTIONS = 3
PAD, UNK, CLS, SEP, DEC = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[DEC]"


@cache
def build_tokenizer() -> BertTokenizer:
    """WordPiece over the words that captions use, with single letters for any other word."""
    said = set(" ".join((*lexicon.NOUNS, *lexicon.PLURALS, *lexicon.ADJECTIVES)).split())
    said.update((*lexicon.PREPOSITIONS, *lexicon.NUMBERS.values()))
    said.update(form for v in lexicon.VERBS for form in (v.plural, v.singular, v.participle))
    letters = string.ascii_lowercase + string.digits
    tokens = [PAD, UNK, CLS, SEP, "[MASK]", DEC, ",", ".", "-", "'", *letters]
    tokens += [f"##{x}" for x in letters] + sorted(said | set(words()))
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    return BertTokenizer(vocab=vocabulary, bos_token=DEC, model_max_length=40)


def build() -> BlipForConditionalGeneration:
    """A tiny BLIP captioner with usable initial weights."""
    tokenizer = build_tokenizer()
    config = BlipConfig(
        vision_config=BlipVisionConfig(
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            image_size=SIZE,
            patch_size=PATCH,
            initializer_range=0.02,  # the default, 1e-10, is meant for loaded weights
        ),
        text_config=BlipTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=3 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=6,
            max_position_embeddings=40,
            bos_token_id=tokenizer.convert_tokens_to_ids(DEC),
            eos_token_id=tokenizer.sep_token_id,
            sep_token_id=tokenizer.sep_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
    )
    return BlipForConditionalGeneration(config)


def processor() -> BlipProcessor:
    """The processor that belongs to `build()`."""
    images = BlipImageProcessorPil(size={"height": SIZE, "width": SIZE})
    return BlipProcessor(images, build_tokenizer())


def start_from(model: BlipForConditionalGeneration, folder: Path, sample: Tensor) -> None:
    """Copy the vision tower of a detector's run into the captioner's.

    OWL-ViT has separate query, key and value matrices (BLIP: one), and normalises its embeddings
    before the first layer (BLIP does not): that norm is folded into the embeddings, with the
    mean scale that `sample` (pixels (N, 3, S, S)) has.

    Raises:
        GrandError: the folder holds no such tower.
    """
    part = "vision_model."
    if not (folder / STATE).is_file():
        raise GrandError(f"no training state in {folder}; train the detector first")
    with safe_open(folder / STATE, framework="pt") as state:
        keys = [k for k in state.keys() if k.startswith("ema.") and part in k]  # noqa: SIM118
        tower = {k.split(part, 1)[1]: state.get_tensor(k).float() for k in keys}
    if "encoder.layers.0.self_attn.q_proj.weight" not in tower:
        raise GrandError(f"{folder / STATE} holds no vision tower; give a detector's run folder")
    new = {}
    for name, value in tower.items():
        if ".self_attn.q_proj." in name:
            parts = [value, *(tower[name.replace("q_proj", x)] for x in ("k_proj", "v_proj"))]
            new[name.replace("q_proj", "qkv")] = torch.cat(parts)
        elif ".self_attn.out_proj." in name:
            new[name.replace("out_proj", "projection")] = value
        elif name.startswith(("encoder.", "post_layernorm.")) and "_proj." not in name:
            new[name] = value
    new |= _folded_embeddings(tower, sample)
    missing, unexpected = model.vision_model.load_state_dict(new, strict=False)
    if missing or unexpected:
        raise GrandError(f"vision towers differ: missing {missing}, unexpected {unexpected}")


def _folded_embeddings(tower: dict[str, Tensor], sample: Tensor) -> dict[str, Tensor]:
    """Embeddings that give about what OWL-ViT's give after its first norm."""
    kernel = tower["embeddings.patch_embedding.weight"]
    place = tower["embeddings.position_embedding.weight"]
    first = tower["embeddings.class_embedding"]
    patches = F.conv2d(sample, kernel, stride=PATCH).flatten(2).transpose(1, 2) + place[1:]
    gain, shift = tower["pre_layernorm.weight"], tower["pre_layernorm.bias"]
    scale = gain / patches.std(-1).mean()
    start = (first + place[0] - (first + place[0]).mean()) / (first + place[0]).std() * gain + shift
    middle = (place - place.mean(-1, keepdim=True)) * scale + shift
    kernel = (kernel - kernel.mean(0, keepdim=True)) * scale[:, None, None, None]
    return {
        "embeddings.patch_embedding.weight": kernel,
        "embeddings.patch_embedding.bias": torch.zeros(len(kernel)),
        "embeddings.position_embedding": torch.cat([0 * middle[:1], middle[1:]])[None],
        "embeddings.class_embedding": start[None, None],
    }


@dataclass(frozen=True)
class Batch:
    """Pixels (B, 3, S, S), token ids (B * CAPTIONS, T) and their mask, and per-patch class and
    colour (B, G * G), colour -1 for stuff."""

    pixels: Tensor
    ids: Tensor
    mask: Tensor
    classes: Tensor
    colors: Tensor


def make_batch(step: int, size: int) -> Batch:
    """`size` scenes with CAPTIONS captions each."""
    rng = np.random.default_rng([TRAIN_SEED, 31, step])
    scenes = draw_scenes(size, step, rng, 0.7)
    texts = [caption(scene, rng).text for scene in scenes for _ in range(CAPTIONS)]
    made = build_tokenizer()(texts, padding=True, truncation=True, return_tensors="pt")
    ids = made["input_ids"]
    ids[:, 0] = build_tokenizer().convert_tokens_to_ids(DEC)
    truth = [_patch_truth(scene) for scene in scenes]
    classes, colors = (torch.from_numpy(np.stack(part)) for part in zip(*truth, strict=True))
    images = pixels(
        [s.image for s in scenes],
        SIZE,
        resample=Image.Resampling.BICUBIC,
        mean=CLIP_MEAN,
        std=CLIP_STD,
    )
    return Batch(images, ids, made["attention_mask"], classes, colors)


def _patch_truth(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    middle = ((np.arange(GRID) + 0.5) * scene.ids.shape[0] / GRID).astype(int)
    ids = scene.ids[np.ix_(middle, middle)].ravel()
    names = np.array([NAMES.index(o.name) for o in scene.objects])
    hues = np.array([COLOR_NAMES.index(o.color) if o.color else -1 for o in scene.objects])
    return names[ids], hues[ids]


class Student(nn.Module):
    """BLIP with a throw-away head for class and colour of every patch."""

    def __init__(self) -> None:
        super().__init__()
        self.blip = build()
        self.head = nn.Linear(WIDTH, len(NAMES) + len(COLOR_NAMES))


def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Next-word cross entropy, and a tenth of the patch head's."""
    assert isinstance(model, Student)
    seen = model.blip.vision_model(pixel_values=batch.pixels).last_hidden_state
    each = seen.repeat_interleave(CAPTIONS, 0)
    out = model.blip.text_decoder(
        input_ids=batch.ids, attention_mask=batch.mask, encoder_hidden_states=each, use_cache=False
    )
    labels = batch.ids.masked_fill(batch.mask == 0, -100)[:, 1:]
    word = F.cross_entropy(out.logits[:, :-1].float().flatten(0, 1), labels.flatten())
    guess = model.head(seen[:, 1:]).float().flatten(0, 1)
    classes, colors = torch.split(guess, [len(NAMES), len(COLOR_NAMES)], dim=1)
    patches = F.cross_entropy(classes, batch.classes.flatten())
    patches = patches + F.cross_entropy(colors, batch.colors.flatten(), ignore_index=-1)
    return {"loss": word + 0.3 * patches, "words": word, "patches": patches}


def main() -> None:
    """Train (or go on training) the captioner and write its checkpoint."""
    args = arguments(
        __doc__ or "", steps=3000, batch=16, lr=8e-4, scenes=100, trunk="run folder of a detector"
    )
    torch.manual_seed(args.seed)
    student = Student()
    if args.export_only:
        restore(student, args.out)
    else:
        if args.trunk and not (args.out / STATE).is_file():
            start_from(student.blip, args.trunk, make_batch(0, 16).pixels)
        schedule = Schedule(
            args.steps, args.batch, args.lr, seed=args.seed, minutes=args.minutes, ema=0.998
        )
        fit(student, lambda step: make_batch(step, args.batch), loss, schedule, args.out)
    student.eval()
    scores = score_captions(student.blip, processor(), args.scenes) if args.scenes else {}
    print(scores)
    if args.export:
        save_half(student.blip, args.export, record("captioner", args, scores))
        processor().save_pretrained(args.export)


if __name__ == "__main__":
    main()
