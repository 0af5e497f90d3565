"""DenseVLM on the pictures of a run (unbiased region-language alignment; Li et al. 2025).

    grand train densevlm --data RUN --out DIR --config tiny
    grand eval densevlm --data RUN --checkpoint DIR --json

A frozen model labels regions of pictures with categories, those it is not sure of are noise, and
the student learns the labels from its own patches, things among things and stuff apart. Nothing of
the run is read but its pictures, and its boxes where `regions` are "proposals". `method` is
"densevlm", or "clipself" for the baseline (Wu et al. 2024): the student's patches learn what a
frozen tower says of crops, its own at the start (`teacher = ""`) or another's. `OUT/model` holds
the student.

The paper decouples things and stuff on both sides and states its rate and batch in table S1.
`variant = "release"` is the published code, which compares stuff with all categories and takes the
last thing for stuff; `blend` and what else it has of its own stand in its configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn

from grand_pipeline.errors import SettingsError
from training import loop, optim
from training.data import views
from training.data.batches import batches, every
from training.data.filters import held_out
from training.data.order import Position
from training.data.source import Rows, open_rows
from training.distributed import World, assign, default_device, full, joined
from training.models.densevlm import export, pictures
from training.models.densevlm.batches import Source, View, collate, sample
from training.models.densevlm.eva02 import Eva02Sizes
from training.models.densevlm.export import Trained
from training.models.densevlm.network import Aim, Batch, DenseVlm, Method, objective
from training.models.densevlm.scores import look, scores
from training.models.densevlm.start import vlm
from training.models.densevlm.towers import Tower
from training.state import Loop

B16 = "open_clip:timm/eva02_base_patch16_clip_224.merged2b_s8b_b131k"
L14 = "open_clip:timm/eva02_large_patch14_clip_336.merged2b_s6b_b61k"
TEMPLATES = (
    "a photo of a {}.",
    "a photo of the {}.",
    "a close-up photo of a {}.",
    "a blurry photo of a {}.",
    "a photo of a small {}.",
    "a photo of a large {}.",
    "there is a {} in the scene.",
    "a picture that shows {}.",
)
MODEL = "model"
_SHOWN = 8
"""Pictures that an evaluation draws."""


@dataclass(frozen=True)
class Config:
    """What is trained on what, and how.

    `things` and `stuff`: categories, "file:PATH" for a list. `student` and `teacher`: see
    `start.vlm`; the sizes are those of an EVA-02-CLIP. Pictures are fitted into `side` pixels, for
    the teacher `teacher_side` (0: the same). `regions` at most of a picture, on grids of up to
    `split` cells a side; `crop`: pixels of what CLIPSelf's teacher sees of one. `theta`: how likely
    a label has to be; `noise`: share of regions whose labels are made wrong, to study it. The last
    `blocks` of the student learn, 0: all. In the end the student is mixed with what it was at the
    start, `blend` parts of 1 of what it learnt. `exclude`: images that evaluate, by content, COCO
    number or name. `workers` make batches.
    """

    data: str
    out: str
    things: tuple[str, ...]
    stuff: tuple[str, ...]
    loop: Loop
    optimizer: optim.AdamW
    variant: Literal["paper", "release"] = "paper"
    method: Method = "densevlm"
    student: str = B16
    teacher: str = L14
    student_sizes: Eva02Sizes = field(default_factory=Eva02Sizes)
    teacher_sizes: Eva02Sizes = field(
        default_factory=lambda: Eva02Sizes(336, 14, 1024, 24, 16, 768)
    )
    templates: tuple[str, ...] = TEMPLATES
    batch_size: int = 48
    side: int = 512
    teacher_side: int = 0
    source: Source = "grid"
    regions: int = 36
    split: int = 6
    crop: int = 224
    theta: float = 0.3
    noise: float = 0.0
    scale: float = 100.0
    teacher_scale: float = 100.0
    blocks: int = 0
    blend: float = 1.0
    exclude: tuple[str, ...] = ()
    workers: int = 4

    def __post_init__(self) -> None:
        if not self.things or not self.stuff:
            raise ValueError("things and stuff must both name categories")
        if set(self.things) & set(self.stuff):
            both = sorted(set(self.things) & set(self.stuff))
            raise ValueError(f"'{both[0]}' is among things and among stuff")

    @property
    def view(self) -> View:
        """How pictures and regions are shown."""
        crop = self.crop if self.method == "clipself" else 0
        return View(self.side, self.source, self.regions, self.split, crop)

    @property
    def aim(self) -> Aim:
        """What the student is to learn."""
        published = self.variant == "release"
        return Aim(
            method=self.method,
            things=len(self.things) - published,
            theta=self.theta,
            apart=not published,
            scale=self.scale,
            teacher_scale=self.teacher_scale,
            teacher_side=self.teacher_side,
            noise=self.noise,
        )


def main(config: Config) -> None:
    """Train the student, or go on where it stopped, and write it."""
    out = Path(config.out)
    with joined() as world:
        reads = ["objects"] if config.source == "proposals" else []
        rows = open_rows(config.data, reads, held_out(config.exclude))
        model = build(config, world)
        begun = {name: value.clone() for name, value in _learning(model.student)}
        loop.fit(
            model,
            partial(_batches, config, rows, world=world),
            partial(_terms, aim=config.aim),
            config.loop,
            config.optimizer,
            out,
            start=Position(),
            batch_size=config.batch_size,
            world=world,
            blocks=list(model.student.blocks),
        )
        student = blended(model.student, begun, config.blend)
        made = Trained(student, config.side, config.things, config.stuff, model.student_texts)
        export.save(out / MODEL, made, write=world.first)


def build(config: Config, world: World) -> DenseVlm:
    """Student and teacher with their initial weights, and the categories as both read them.

    Raises MissingDependencyError or SettingsError for weights that are not there or do not fit.
    """
    names = (*config.things, *config.stuff)
    torch.manual_seed(config.loop.seed)
    student = vlm(config.student, config.student_sizes)
    texts = student.embed(names, config.templates)
    if config.teacher:
        teacher = vlm(config.teacher, config.teacher_sizes)
        tower, labels = teacher.tower, texts
        if config.method == "densevlm":
            labels = teacher.embed(names, config.templates)
    elif config.method == "clipself":
        tower, labels = deepcopy(student.tower), texts
    else:
        raise SettingsError("densevlm needs a teacher: only clipself learns from the student")
    student.tower.freeze(config.blocks or len(student.tower.blocks))
    tower.freeze()
    model = DenseVlm(student.tower, texts, tower, labels)
    if world.first:
        sizes = [sum(p.numel() for p in part.parameters()) for part in (student.tower, tower)]
        learning = sum(value.numel() for _, value in _learning(student.tower))
        print(
            f"student of {sizes[0] / 1e6:.1f} million parameters, {learning / 1e6:.1f} learn; "
            f"teacher of {sizes[1] / 1e6:.1f} million; {len(names)} categories"
        )
    return model


def blended(student: Tower, begun: dict[str, Tensor], share: float) -> Tower:
    """Mix what the student learnt with what it was, in place: `share` parts of 1 of the new."""
    with torch.no_grad():
        for name, value in _learning(student) if share < 1 else ():
            new = full(value)
            assign(value, share * new + (1 - share) * begun[name].to(new.device))
    return student


def _learning(tower: Tower) -> list[tuple[str, nn.Parameter]]:
    return [(name, value) for name, value in tower.named_parameters() if value.requires_grad]


def _batches(
    config: Config, rows: Rows, position: Position, world: World
) -> Iterator[tuple[Position, Batch]]:
    return batches(
        rows,
        partial(sample, view=config.view),
        collate,
        config.batch_size,
        seed=config.loop.seed,
        position=position,
        rank=world.rank,
        world=world.size,
        workers=config.workers,
    )


def _terms(model: nn.Module, batch: Batch, aim: Aim) -> dict[str, Tensor]:
    return objective(cast(DenseVlm, model), batch, aim)


def evaluate(checkpoint: Path, data: str, out: Path) -> dict[str, float]:
    """Scores of the training in the folder `checkpoint` on the rows of `data`; see `scores`.

    The confusion matrix, and pictures with the category of every patch, go to `out`.
    """
    trained = export.load(checkpoint / MODEL, default_device())
    rows = every(views.require(data, views.segmentation))
    seen = look(trained, rows)
    pictures.draw(trained, seen, rows[:_SHOWN], out)
    return scores(trained, seen) | {"images": float(len(rows))}
