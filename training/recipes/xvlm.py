"""X-VLM on the published rows of a run (Zeng et al., ICML 2022).

    grand train xvlm --data RUN --out DIR --config tiny
    grand eval xvlm --data RUN --checkpoint DIR --json

Two trainings follow each other, as pre-training and grounding do in the paper. In the first, texts
are aligned with images, objects and regions, and sought in the picture; in the second the box alone
is trained, without which it stays at the mean of all boxes in short runs. `OUT/model` and
`OUT/grounding/model` hold what each came to.

Where the paper and its published code differ, `variant` decides how masked words are chosen, how
gradients pass through the gathered batch and how pixels of a box are counted; rates, weight decay
and tokens stand in the configurations. The published code takes a step on captions every time and
an extra one on regions every other time; here both variants mix them half and half, as the paper
says. Texts that are equal are taken to belong to each other's concepts, in both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn

from grand_pipeline.errors import SettingsError
from training import loop, optim, plots
from training.data import views
from training.data.batches import batches, every
from training.data.filters import held_out
from training.data.order import Position
from training.data.source import Rows
from training.distributed import World, barrier, default_device, joined
from training.metrics.grounding import Pixels
from training.models import backbones
from training.models.xvlm import export, pictures
from training.models.xvlm.batches import View, boxed, captioned, collate, words
from training.models.xvlm.export import Trained
from training.models.xvlm.masking import PAPER, RELEASE
from training.models.xvlm.network import Architecture, Xvlm, swin_config
from training.models.xvlm.objective import Batch, Terms, freeze_unused, objective
from training.models.xvlm.scores import scores
from training.models.xvlm.start import bert_config, look_where_similar, start
from training.pretrained import loaded
from training.state import Loop

TINY = "tiny"
"""As initial weights: backbones made by this project, see `training.models.backbones`."""
VIEWS = (views.image_caption, views.region_text)
MODEL, GROUNDING = "model", "grounding"
SWIN = backbones.Budget(steps=800, batch_size=32, lr=1e-3)
BERT = backbones.Budget(steps=600, batch_size=32, lr=1e-3)
PIXELS: dict[str, Pixels] = {"paper": "plain", "release": "inclusive"}
_SHOWN = 8
"""Pictures that an evaluation draws."""


@dataclass(frozen=True)
class Config:
    """What is trained on what, and how.

    `batch_size` pictures per rank, half of them with texts about boxes, of which `region_rows` are
    taken (twice as many where all pictures have boxes). `vision` and `text`: hub ids or folders of
    a Swin and a BERT, "tiny" or "random"; the tiny BERT brings its own `tokenizer`.
    `object`, `region` and `bbox` are the parts that the paper's ablation (Table 4) leaves out.
    `grounding_steps` of the box alone follow, at `grounding_lr`; `similar`: they begin with
    `start.look_where_similar`, no part of the paper. `exclude`: images that evaluate, by content,
    COCO number or name ("file:PATH" for a list). `workers` make batches.
    """

    data: str
    out: str
    loop: Loop
    optimizer: optim.AdamW
    variant: Literal["paper", "release"] = "paper"
    architecture: Architecture = field(default_factory=Architecture)
    vision: str = "microsoft/swin-base-patch4-window7-224-in22k"
    text: str = "google-bert/bert-base-uncased"
    tokenizer: str = "google-bert/bert-base-uncased"
    batch_size: int = 128
    region_rows: int = 128
    tokens: int = 30
    scale: tuple[float, float] = (0.2, 1.0)
    flip: float = 0.5
    color_ops: int = 2
    texts_per_image: int = 5
    object: bool = True
    region: bool = True
    bbox: bool = True
    grounding_steps: int = 0
    grounding_lr: float = 3e-5
    similar: bool = False
    exclude: tuple[str, ...] = ()
    workers: int = 4

    def __post_init__(self) -> None:
        if self.batch_size % 2:
            raise ValueError("batch_size must be even: half of a batch has boxes")

    @property
    def view(self) -> View:
        """How pictures and texts are shown."""
        return View(
            side=self.architecture.image_size,
            tokens=self.tokens,
            scale=self.scale,
            flip=self.flip,
            color_ops=self.color_ops,
            texts=self.texts_per_image,
            object=self.object,
            region=self.region,
            masking=PAPER if self.variant == "paper" else RELEASE,
        )


def main(config: Config) -> None:
    """Train both stages, or go on where they stopped, and write the models."""
    out = Path(config.out)
    with joined() as world:
        rows = views.require(config.data, *VIEWS, exclude=held_out(config.exclude))
        trained = build(config, world)
        terms = Terms(box=config.bbox, exact=config.variant == "paper")
        _train(config, trained, rows, terms, config.loop, config.optimizer, out, world)
        if config.grounding_steps and config.bbox and (config.object or config.region):
            barrier()
            loops = replace(config.loop, steps=config.grounding_steps)
            optimizer = replace(config.optimizer, lr=config.grounding_lr, multipliers={})
            terms, begun = Terms(align=False), export.load(out / MODEL)
            if config.similar:
                look_where_similar(begun.model)
            _train(config, begun, rows, terms, loops, optimizer, out / GROUNDING, world)


def build(config: Config, world: World) -> Trained:
    """The network with its initial weights, and its tokenizer.

    Raises MissingDependencyError or SettingsError for weights that are not there or do not fit.
    """
    vision, text, tokenizer = config.vision, config.text, config.tokenizer
    if not world.first:
        barrier()  # the first rank makes the tiny backbones, the others find them in the cache
    if vision == TINY:
        vision = str(backbones.swin_folder(swin_config(config.architecture), SWIN))
    if text == TINY:
        text = tokenizer = str(backbones.bert_folder(bert_config(config.architecture), BERT))
    if world.first:
        barrier()
    read = loaded("AutoTokenizer", tokenizer)
    if len(read) > config.architecture.vocabulary:
        raise SettingsError(
            f"the tokenizer '{tokenizer}' has {len(read)} tokens, the network "
            f"{config.architecture.vocabulary}: set architecture.vocabulary={len(read)}"
        )
    torch.manual_seed(config.loop.seed)
    model = Xvlm(config.architecture)
    if world.first:
        print(f"X-VLM of {sum(p.numel() for p in model.parameters()) / 1e6:.1f} million parameters")
    start(model, vision, text)
    return Trained(model, read, config.tokens, PIXELS[config.variant])


def _train(
    config: Config,
    trained: Trained,
    rows: Rows,
    terms: Terms,
    loops: Loop,
    optimizer: optim.AdamW,
    out: Path,
    world: World,
) -> None:
    """Train one stage into `out`, and write its model there."""
    model = trained.model
    freeze_unused(model, terms)
    captions = config.batch_size // 2 if terms.align else 0

    def data(position: Position) -> Iterator[tuple[Position, Batch]]:
        return _batches(config, trained, rows, captions, position, world)

    loop.fit(
        model,
        data,
        partial(_terms, terms=terms),
        loops,
        optimizer,
        out,
        start=Position(),
        batch_size=config.batch_size,
        world=world,
        blocks=[*model.text, *model.fusion, *model.vision.encoder.layers],
    )
    export.save(out / MODEL, trained, write=world.first)
    if world.first:
        plots.write(out)


def _batches(
    config: Config, trained: Trained, rows: Rows, captions: int, position: Position, world: World
) -> Iterator[tuple[Position, Batch]]:
    """Batches of `captions` pictures with a caption, the others with texts about boxes.

    Both read the same rows in orders of their own, and are always at the same position.
    """
    # Where the box alone is trained, captions of whole pictures have nothing to say.
    how = words(trained.tokenizer, replace(config.view, captions=captions > 0))
    parts = ((captioned, captions), (boxed, config.batch_size - captions))
    streams = [
        batches(
            rows,
            partial(make, words=how),
            list,
            size,
            seed=2 * config.loop.seed + number,
            position=position,
            rank=world.rank,
            world=world.size,
            workers=config.workers,
        )
        for number, (make, size) in enumerate(parts)
        if size
    ]
    texts = config.region_rows * parts[1][1] // (config.batch_size // 2)
    for made in zip(*streams, strict=False):
        pairs, regions = ([], *(samples for _, samples in made))[-2:]
        after = made[0][0]
        yield after, collate(pairs, regions, texts, trained.model.sizes.grid)


def _terms(model: nn.Module, batch: Batch, terms: Terms) -> dict[str, Tensor]:
    return objective(cast(Xvlm, model), batch, terms)


def evaluate(checkpoint: Path, data: str, out: Path) -> dict[str, float]:
    """Scores of the training in the folder `checkpoint` on the rows of `data`; see `scores`.

    Pictures with the boxes of expressions and the heat of every word go to `out`.
    """
    device = default_device()
    aligned = export.load(checkpoint / MODEL, device)
    grounding = checkpoint / GROUNDING / MODEL
    located = export.load(grounding, device) if grounding.is_dir() else aligned
    rows = every(views.require(data, *VIEWS))
    pictures.draw(aligned, located, rows[:_SHOWN], out)
    return scores(aligned, located, rows)
