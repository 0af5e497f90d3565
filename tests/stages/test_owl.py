import numpy as np
import pytest
import torch

from grand_pipeline.errors import SettingsError
from grand_pipeline.types import Size
from stages import grounders, owl
from stages.detector import Options
from stages.owl import Owl
from tests.tiny.checkpoints import Builder, checkpoint, owl_vit, owlv2
from tests.tiny.records import ODD_SIZES, record

QUERIES = ["a cat", "the red car", "sky"]


def load(build: Builder, dtype: str = "float32") -> Owl:
    return owl.load(checkpoint(build), "cpu", Options(dtype=dtype))


def sizes(build: Builder) -> tuple[Size, ...]:
    # OWLv2 pads to a square, which takes long for the longest strip.
    return ((40, 60), *(size for size in ODD_SIZES if max(size) < 1000 or build is owl_vit))


@pytest.mark.parametrize("build", [owl_vit, owlv2])
def test_scores_and_boxes_are_those_of_the_whole_model(build: Builder) -> None:
    model = load(build)
    image = record().image
    inputs = model.processor(text=[QUERIES], images=image, return_tensors="pt")
    with torch.inference_mode():
        out = model.model(**inputs)
    whole = model.processor.post_process_grounded_object_detection(
        out, threshold=-1.0, target_sizes=[(40, 60)]
    )[0]
    (found,) = model.score([image], [(40, 60)], [QUERIES])
    assert np.allclose(found.scores.max(1), whole["scores"].numpy(), atol=1e-5)
    assert (found.scores.argmax(1) == whole["labels"].numpy()).all()
    boxes = whole["boxes"].numpy().clip(0, [60, 40, 60, 40])
    assert np.allclose(found.boxes, boxes, atol=1e-3)


@pytest.mark.parametrize("build", [owl_vit, owlv2])
def test_batch_with_queries_of_its_own_per_image_equals_single(build: Builder) -> None:
    model = load(build)
    images = [record(size, seed=i).image for i, size in enumerate(sizes(build))]
    queries = [QUERIES[: i % 4] for i in range(len(images))]
    together = model.score(images, sizes(build), queries)
    for image, size, asked, found in zip(images, sizes(build), queries, together, strict=True):
        (alone,) = model.score([image], [size], [asked])
        assert found.scores.shape == (len(found.boxes), len(asked)) and found.groups == ()
        assert np.allclose(found.scores, alone.scores, atol=1e-5)
        assert np.allclose(found.boxes, alone.boxes, atol=1e-2)
        assert (found.boxes >= 0).all() and (found.boxes[:, [0, 2]] <= size[1]).all()
        assert (found.boxes[:, [1, 3]] <= size[0]).all()


@pytest.mark.parametrize("build", [owl_vit, owlv2])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_finds_nearly_the_same(build: Builder, dtype: str) -> None:
    model, image = load(build, dtype), record().image
    assert {str(weight.dtype) for weight in model.model.parameters()} == {f"torch.{dtype}"}
    (half,) = model.score([image], [(40, 60)], [QUERIES])
    (full,) = load(build).score([image], [(40, 60)], [QUERIES])
    assert half.boxes.dtype == half.scores.dtype == np.float32
    assert np.allclose(half.scores, full.scores, atol=0.05)
    assert np.allclose(half.boxes, full.boxes, atol=1.5)


def test_queries_are_encoded_once() -> None:
    model = owl.load(checkpoint(owl_vit), "cpu", Options(texts_per_call=2))
    model.remember(QUERIES)
    known = dict(model._queries)
    model.score([record().image], [(40, 60)], [QUERIES])
    assert all(model._queries[query] is known[query] for query in QUERIES)


def test_an_owl_can_not_look_at_captions() -> None:
    with pytest.raises(SettingsError, match='set prompt = "phrase"'):
        owl.grounder(checkpoint(owl_vit), "cpu", grounders.Options(prompt="caption"))
