"""Where towers and the embeddings of categories come from before training."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from grand_pipeline import weights
from grand_pipeline.errors import MissingDependencyError, SettingsError
from training.data.transforms import CLIP_MEAN, CLIP_STD
from training.export import CONFIG
from training.models.densevlm import eva02_weights, export
from training.models.densevlm.eva02 import Eva02, Eva02Sizes
from training.models.densevlm.towers import Owl, Siglip, Tower
from training.pretrained import loaded

RANDOM = "random"
Read = Callable[[Sequence[str]], Tensor]
"""n texts -> unit features (n, P)."""
Embed = Callable[[Sequence[str], Sequence[str]], Tensor]
_TEXTS_AT_ONCE = 256


@dataclass(frozen=True)
class Vlm:
    """An image tower, and what reads categories: names, templates -> embeddings (C, P)."""

    tower: Tower
    embed: Embed


def vlm(source: str, sizes: Eva02Sizes) -> Vlm:
    """A vision-language model by its source.

    Args:
        source: a hub id or folder of a SigLIP or OWL-ViT; "open_clip:" and one of an EVA-02-CLIP;
            the folder of a model that this recipe has trained; or "random".
        sizes: of an EVA-02-CLIP and of what is random; others bring theirs.

    Raises:
        MissingDependencyError: weights are neither here nor reachable.
        SettingsError: they are of another kind or shape.
    """
    if source == RANDOM:
        return Vlm(
            Tower(Eva02(sizes), sizes.patch_size, CLIP_MEAN, CLIP_STD),
            partial(_drawn, sizes.projection),
        )
    if source.startswith(weights.OPEN_CLIP):
        return _open_clip(source, sizes)
    place = Path(weights.resolve(source))
    if (kind := _kind(place)) == export.MODEL_TYPE:
        return _trained(place)
    if not kind and not place.is_dir():
        kind = str(loaded("AutoConfig", source).model_type)
    if kind == "siglip":
        model = loaded("SiglipModel", source).float()
        return _of_transformers(source, Siglip(model.vision_model), model, model)
    if kind == "owlvit":
        model = loaded("OwlViTForObjectDetection", source).float()
        return _of_transformers(source, Owl(model), model.owlvit, model)
    raise SettingsError(
        f"'{source}' is a {kind or 'folder without a model'}; a tower is a siglip, an owlvit (a "
        f"teacher), what this recipe has trained, or an EVA-02-CLIP: '{weights.OPEN_CLIP}...'"
    )


def averaged(read: Read, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Embeddings (C, P) of categories: the mean of their unit features in all templates.

    The mean is left as short as it is, as in the published code.
    """
    texts = [template.format(name) for template in templates for name in names]
    starts = range(0, len(texts), _TEXTS_AT_ONCE)
    with torch.no_grad():
        parts = [read(texts[at : at + _TEXTS_AT_ONCE]) for at in starts]
    return torch.cat(parts).reshape(len(templates), len(names), -1).mean(0)


def _kind(place: Path) -> str:
    """What a folder's configuration calls its model; empty where there is none here."""
    try:
        facts = json.loads((place / CONFIG).read_text("utf-8"))
    except (OSError, ValueError):
        return ""
    return str(facts.get("model_type", ""))


def _of_transformers(source: str, network: Any, reader: Any, model: Any) -> Vlm:
    """A model of transformers with its processor's colours and tokenizer."""
    processor = loaded("AutoProcessor", source)
    images, tokenizer = processor.image_processor, processor.tokenizer
    most = int(model.config.text_config.max_position_embeddings)
    names = tokenizer.model_input_names

    def read(texts: Sequence[str]) -> Tensor:
        made = tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=most, return_tensors="pt"
        )
        found = reader.get_text_features(**{name: made[name] for name in names if name in made})
        # Older releases of the library return the tensor itself.
        return F.normalize(getattr(found, "pooler_output", found).float(), dim=1)

    patch = int(model.config.vision_config.patch_size)
    tower = Tower(network, patch, images.image_mean, images.image_std)
    return Vlm(tower, partial(averaged, read))


def _open_clip(source: str, sizes: Eva02Sizes) -> Vlm:
    place = Path(weights.resolve(source))
    if not place.is_dir():
        name = source.removeprefix(weights.OPEN_CLIP)
        raise MissingDependencyError(
            f"initial weights '{source}' are not here; fetch them with "
            f"`hf download {quote(name)}`, give '{weights.OPEN_CLIP}FOLDER', or train with 'random'"
        )
    network, read = eva02_weights.load(place, sizes)
    return Vlm(Tower(network, sizes.patch_size, CLIP_MEAN, CLIP_STD), partial(averaged, read))


def _trained(place: Path) -> Vlm:
    """A model that was trained before; its categories were read then, in the templates of then."""
    trained = export.load(place)
    number = {name: at for at, name in enumerate(trained.names)}

    def embed(names: Sequence[str], templates: Sequence[str]) -> Tensor:
        unknown = [name for name in names if name not in number]
        if unknown:
            raise SettingsError(
                f"the model in '{place}' knows its own {len(number)} categories and not "
                f"'{unknown[0]}': train both with the same ones"
            )
        return trained.texts[[number[name] for name in names]]

    return Vlm(trained.tower, embed)


def _drawn(width: int, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Random directions: without weights nothing can be read."""
    rng = torch.Generator().manual_seed(0)
    return F.normalize(torch.randn(len(names), width, generator=rng), dim=1)
