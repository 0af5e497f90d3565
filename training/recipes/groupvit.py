"""GroupViT on the published rows of a run (Xu et al., CVPR 2022).

    grand train groupvit --data RUN --out DIR --config tiny
    grand eval groupvit --data RUN --checkpoint DIR --json

Images are aligned with their captions, and with words of the picture in prompts, by two
contrastive losses; that patches find together to segments on the way is the paper's claim, so
nothing here is told where anything is, and training starts from random weights. `OUT/model` holds
what it came to. The baseline of the paper, a plain ViT trained alike:

    grand train groupvit ... architecture.groups=[] architecture.depths=[6]

Words come from the phrases of the run, where the published code tags captions for nouns and verbs.
Geometric operations of RandAugment and random erasing are not done. Pictures are measured whole,
with positions interpolated, where the published code slides windows over them. As published, equal
words of two pictures are wrong for each other; in batches of a small world that would be most of
them, so `share` makes a text belong to every picture of which it is said. `presence` is no part
of the paper either: in short trainings a few groups take everything, and it makes it cost something
when a group has no segment of its own in a picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from grand_pipeline.errors import SettingsError
from training import loop, optim
from training.data import views
from training.data.batches import batches, every
from training.data.filters import held_out
from training.data.order import Position
from training.distributed import World, joined
from training.models.groupvit import export, pictures
from training.models.groupvit.batches import View, collate, sample
from training.models.groupvit.export import Reading, Trained
from training.models.groupvit.network import Architecture, GroupVit
from training.models.groupvit.objective import Batch, objective
from training.models.groupvit.scores import scores
from training.pretrained import loaded
from training.recipes.picturebook.captioner import build_tokenizer
from training.state import Loop

TINY = "tiny"
"""As tokenizer: that of the embedded captioner, which knows the words of the picture book."""
MODEL = "model"


@dataclass(frozen=True)
class Config:
    """What is trained on what, and how.

    `batch_size` pictures per rank, each with a caption and `words` of the picture, every one in one
    of the `prompts`; the loss of words counts `words_weight` times that of captions. `tokenizer`: a
    hub id, a folder, or "tiny". `scale`, `flip`, `color_ops` and `magnitude` augment as in
    `batches.View`, `share` and `presence` (the weight of that loss) as above. `side` and
    `background` are for evaluation alone, as in `export.Reading`. `exclude`: images that evaluate,
    by content, COCO number or name ("file:PATH" for a list). `workers` make batches.
    """

    data: str
    out: str
    loop: Loop
    optimizer: optim.AdamW
    architecture: Architecture = field(default_factory=Architecture)
    tokenizer: str = "openai/clip-vit-base-patch16"
    prompts: tuple[str, ...] = ("a photo of a {}",)
    batch_size: int = 256
    scale: tuple[float, float] = (0.08, 1.0)
    flip: float = 0.5
    color_ops: int = 2
    magnitude: int = 9
    words: int = 3
    words_weight: float = 1.0
    share: bool = False
    presence: float = 0.0
    side: int = 448
    background: float = 0.35
    exclude: tuple[str, ...] = ()
    workers: int = 4

    def __post_init__(self) -> None:
        if odd := [text for text in self.prompts if "{}" not in text] or not self.prompts:
            raise ValueError(f"prompts must have {{}} in the place of the word: {odd}")

    @property
    def view(self) -> View:
        """How pictures and texts are shown."""
        return View(
            side=self.architecture.image_size,
            tokens=self.architecture.tokens,
            scale=self.scale,
            flip=self.flip,
            color_ops=self.color_ops,
            magnitude=self.magnitude,
            words=self.words,
            prompts=self.prompts,
        )


def main(config: Config) -> None:
    """Train, or go on where it stopped, and write the model."""
    out = Path(config.out)
    with joined() as world:
        rows = views.require(
            config.data, views.image_caption, views.referring, exclude=held_out(config.exclude)
        )
        trained = build(config, world)

        def data(position: Position) -> Iterator[tuple[Position, Batch]]:
            return batches(
                rows,
                partial(sample, tokenizer=trained.tokenizer, view=config.view),
                collate,
                config.batch_size,
                seed=config.loop.seed,
                position=position,
                rank=world.rank,
                world=world.size,
                workers=config.workers,
            )

        vision, text = trained.model.vision, trained.model.text
        loop.fit(
            trained.model,
            data,
            partial(_terms, config=config),
            config.loop,
            config.optimizer,
            out,
            start=Position(),
            batch_size=config.batch_size,
            world=world,
            blocks=[*chain(*(cast(Any, stage).blocks for stage in vision.stages)), *text.blocks],
        )
        export.save(out / MODEL, trained, write=world.first)


def build(config: Config, world: World) -> Trained:
    """The network with random weights, and its tokenizer.

    Raises MissingDependencyError for a tokenizer that is not there and SettingsError for one with
    more tokens than the network.
    """
    tiny = config.tokenizer == TINY
    tokenizer = build_tokenizer() if tiny else loaded("AutoTokenizer", config.tokenizer)
    if len(tokenizer) > config.architecture.vocabulary:
        raise SettingsError(
            f"the tokenizer '{config.tokenizer}' has {len(tokenizer)} tokens, the network "
            f"{config.architecture.vocabulary}: set architecture.vocabulary={len(tokenizer)}"
        )
    torch.manual_seed(config.loop.seed)
    model = GroupVit(config.architecture)
    # What no loss reaches would be waited for under DDP.
    model.words_scale.requires_grad_(config.words > 0 and config.words_weight > 0)
    if world.first:
        count = sum(parameter.numel() for parameter in model.parameters())
        name = "GroupViT" if config.architecture.groups else "a plain ViT with texts"
        print(f"{name} of {count / 1e6:.2f} million parameters")
    return Trained(model, tokenizer, Reading(config.side, config.prompts, config.background))


def _terms(model: nn.Module, batch: Batch, config: Config) -> dict[str, Tensor]:
    return objective(
        cast(GroupVit, model),
        batch,
        share=config.share,
        weight=config.words_weight,
        presence_weight=config.presence,
    )


def evaluate(checkpoint: Path, data: str, out: Path) -> dict[str, float]:
    """Scores of the training in the folder `checkpoint` on the rows of `data`; see `scores`.

    Pictures with the groups of both stages and what the classes of groups come to go to `out`.
    """
    trained = export.load(checkpoint / MODEL)
    rows = every(views.require(data, views.image_caption, views.segmentation))
    found = scores(trained, rows)
    pictures.draw(trained, rows, found.gaps, out)
    return found.values
