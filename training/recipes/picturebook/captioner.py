"""Train the embedded BLIP captioner on the captions of rendered scenes.

    python -m training.recipes.picturebook.captioner --trunk OWL_VIT --out RUN --export DIR

A real `BlipForConditionalGeneration` in miniature. Its vision tower has the shape of the
embedded detector's, whose weights it starts from. First only the words are learned, from features
kept in memory; then both go on together. A throw-away head keeps naming class and colour under
every patch: what the words are about.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
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

from grand_pipeline.picturebook import lexicon
from grand_pipeline.picturebook.language import caption
from grand_pipeline.picturebook.scene import Scene
from training.recipes.picturebook import recipe
from training.recipes.picturebook.caption_scores import score_captions
from training.recipes.picturebook.recipe import Phase, Recipe
from training.recipes.picturebook.scenes import TRAIN_SEED, draw_scenes, pixels
from training.recipes.picturebook.state import Schedule
from training.recipes.picturebook.text import COLOR_NAMES, NAMES, words
from training.recipes.picturebook.trunk import Memo, load_tower, start_blip

SIZE, PATCH, WIDTH, LAYERS, HEADS = 224, 16, 192, 6, 3
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
            hidden_size=160,
            intermediate_size=320,
            num_hidden_layers=2,
            num_attention_heads=5,
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
    # A tokenizer of its own: batches leave their padding in the one that they share.
    return BlipProcessor(images, build_tokenizer.__wrapped__())


@dataclass(frozen=True)
class Batch:
    """Pixels (B, 3, S, S) and scene numbers, token ids (B * CAPTIONS, T) and their mask, and
    per-patch class and colour (B, G * G), colour -1 for stuff."""

    pixels: Tensor
    indices: tuple[int, ...]
    ids: Tensor
    mask: Tensor
    classes: Tensor
    colors: Tensor


def make_batch(step: int, size: int) -> Batch:
    """`size` scenes with CAPTIONS captions each."""
    rng = np.random.default_rng([TRAIN_SEED, 31, step])
    scenes = draw_scenes(size, step, rng, 0.25)
    texts = [caption(scene, rng).text for scene in scenes for _ in range(CAPTIONS)]
    made = build_tokenizer()(texts, padding=True, truncation=True, return_tensors="pt")
    ids = made["input_ids"]
    ids[:, 0] = build_tokenizer().convert_tokens_to_ids(DEC)
    truth = [_patch_truth(scene) for scene in scenes]
    classes, colors = (torch.from_numpy(np.stack(part)) for part in zip(*truth, strict=True))
    return Batch(
        pixels=pixels([s.image for s in scenes], SIZE),
        indices=tuple(s.index for s in scenes),
        ids=ids,
        mask=made["attention_mask"],
        classes=classes,
        colors=colors,
    )


def _patch_truth(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    middle = ((np.arange(GRID) + 0.5) * scene.ids.shape[0] / GRID).astype(int)
    ids = scene.ids[np.ix_(middle, middle)].ravel()
    names = np.array([NAMES.index(o.name) for o in scene.objects])
    hues = np.array([COLOR_NAMES.index(o.color) if o.color else -1 for o in scene.objects])
    return names[ids], hues[ids]


class Student(nn.Module):
    """BLIP with a throw-away head for class and colour of every patch.

    With `frozen` only the decoder learns, from features that are made once per scene.
    """

    def __init__(self, frozen: bool) -> None:
        super().__init__()
        self.blip = build()
        self.head = nn.Linear(WIDTH, len(NAMES) + len(COLOR_NAMES))
        self.memo = Memo() if frozen else None
        self.blip.vision_model.requires_grad_(not frozen)

    def see(self, batch: Batch) -> Tensor:
        """Features (B, 1 + G * G, D) of the pictures."""
        if self.memo is not None:
            return self.memo(self._encode, batch.pixels, batch.indices)
        return self._encode(batch.pixels)

    def _encode(self, pixels: Tensor) -> Tensor:
        seen: Tensor = self.blip.vision_model(pixel_values=pixels).last_hidden_state
        return seen


def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Next-word cross entropy, and a part of the patch head's."""
    assert isinstance(model, Student)
    seen = model.see(batch)
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


def start_tower(student: Student, folder: Path) -> None:
    """Start from the vision tower of an exported detector."""
    start_blip(student.blip.vision_model, load_tower(folder), make_batch(0, 16).pixels)


def batch(step: int, phase: Phase, run: Path) -> Batch:
    """Scenes of a step and their captions."""
    return make_batch(step, phase.schedule.batch_size)


RECIPE = Recipe(
    name="blip",
    module="captioner",
    phases=(
        Phase("words", Schedule(2400, 16, 8e-4, ema=0.998), frozen=True),
        Phase("joint", Schedule(2500, 16, 4e-4, ema=0.998)),
    ),
    model=lambda phase: Student(phase.frozen),
    batch=batch,
    loss=loss,
    exported=lambda student: student.blip,
    processor=processor,
    score=lambda blip, count: score_captions(blip, processor(), count),
    start=start_tower,
    cases=100,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    recipe.main((RECIPE,), __doc__ or "", arguments)


if __name__ == "__main__":
    main()
