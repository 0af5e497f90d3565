"""Where a text looks in a picture: Grad-CAM over the cross-attention (section 4.6)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from training.models.xvlm.network import Texts, Xvlm, whole


def heat(model: Xvlm, patches: Tensor, texts: Texts) -> Tensor:
    """Heat (R, L, grid, grid) of every token on the picture of its row.

    The attention of a layer two thirds up the fusion encoder (the fourth of six, as published),
    times the positive part of the gradient of the logit of a match, averaged over the heads; 0 for
    padding. `patches` (R, T, D) are the pictures'.
    """
    with torch.enable_grad():
        fused = model.attend(texts, whole(patches))
        layer = fused.attention[max(2 * len(fused.attention) // 3 - 1, 0)]
        (slope,) = torch.autograd.grad(model.match(fused)[:, 1].sum(), layer)
    found: Tensor = (
        (layer * slope.clamp(min=0)).detach().mean(1)[:, :, 1:]
    )  # without the mean patch
    found = found * texts.mask[..., None].to(found.dtype)
    return found.reshape(*found.shape[:2], model.sizes.grid, model.sizes.grid)


def of_text(tokens: Tensor, mask: Tensor) -> Tensor:
    """Heat (R, grid, grid) of whole texts: the mean over their tokens, of (R, L, grid, grid)."""
    count = mask.sum(1).clamp(min=1)[:, None, None]
    return tokens.sum(1) / count


def enlarged(maps: Tensor, side: int) -> Tensor:
    """Maps (R, g, g) as (R, side, side), bicubic."""
    large = F.interpolate(maps[:, None].float(), (side, side), mode="bicubic", align_corners=False)
    return large[:, 0]
