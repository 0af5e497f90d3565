"""The whole network against the same architecture of torch's own parts."""

import pytest
import torch

from stages.mdetr import checkpoint
from stages.mdetr.network import Network
from tests.tiny import mdetr as tiny

SHAPES = ((64, 96), (33, 75), (1, 1), (7, 200), (96, 64), (64, 96), (128, 128), (32, 32))
TEXTS = tuple((0, *range(4, 4 + length), 2) for length in (5, 1, 12, 30, 0, 7, 60, 3))


def load(kind: str, dtype: str = "float32", answers: int = 0) -> Network:
    return checkpoint.load(tiny.checkpoint(kind, answers), "cpu", dtype)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def ask(
    model: Network, shapes: tuple[tuple[int, int], ...] = SHAPES
) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = [noise(1, 3, *shape).to(model.dtype) for shape in shapes]
    with torch.inference_mode():
        seen = [tokens for image in pixels for tokens in model.look(image)]
        return model.answer(seen, TEXTS[: len(shapes)])


@pytest.mark.parametrize("answers", [0, 6])
@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_mixed_batch_is_what_the_reference_says_of_each_pair(kind: str, answers: int) -> None:
    boxes, meant = ask(load(kind, answers=answers))
    assert boxes.shape == (8, tiny.QUERIES, 4) and meant.shape == (8, tiny.QUERIES, tiny.POSITIONS)
    model = tiny.reference(kind, answers)
    for n, (shape, text) in enumerate(zip(SHAPES, TEXTS, strict=True)):
        with torch.inference_mode():
            expected, chances = model(noise(3, *shape), list(text))
        assert torch.allclose(boxes[n], expected, atol=1e-5)
        assert torch.allclose(meant[n], chances, atol=1e-5)
    assert meant.sum(dim=2) == pytest.approx(torch.ones(8, tiny.QUERIES), abs=1e-5)
    assert boxes.std(dim=1).max() > 0.01, "queries differ"


def test_the_text_and_the_image_have_a_say() -> None:
    model = load("resnet")
    with torch.inference_mode():
        one, other = (model.look(noise(1, 3, 64, 96) * scale)[0] for scale in (1, 3))
        base = model.answer([one], [TEXTS[0]])[1]
        assert (model.answer([other], [TEXTS[0]])[1] - base).abs().max() > 1e-3
        assert (model.answer([one], [TEXTS[2]])[1] - base).abs().max() > 1e-3


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_says_nearly_the_same(kind: str, dtype: str) -> None:
    full, half = ask(load(kind)), ask(load(kind, dtype))
    for found, expected in zip(half, full, strict=True):
        assert found.dtype == torch.float32 and found.isfinite().all()
        assert torch.allclose(found, expected, atol=0.1)
    assert {weight.dtype for weight in load(kind, dtype).weights.values()} == {
        getattr(torch, dtype)
    }
