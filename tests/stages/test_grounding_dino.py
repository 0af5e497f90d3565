"""What is found in an image of many colours may differ by rounding with its neighbours in the
batch. In one of a single colour all places are alike, and which of them the model picks is chance;
such images are only looked at for sane boxes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from grand_pipeline.errors import SettingsError
from grand_pipeline.types import Size
from stages import grounding_dino as dino
from stages.detector import Options, Scored
from stages.grounding_dino import GroundingDino
from tests.tiny.checkpoints import Builder, checkpoint
from tests.tiny.detectors import grounding_dino, mm_grounding_dino
from tests.tiny.records import record
from tests.tiny.words import bert_tokenizer

BUILDERS = [grounding_dino, mm_grounding_dino]
QUERIES = ["a cat", "the red car", "sky"]
SIZES: tuple[Size, ...] = ((40, 60), (60, 40), (41, 61), (500, 3), (3, 3), (900, 1400))


def load(build: Builder, options: Options | None = None) -> GroundingDino:
    return dino.load(checkpoint(build), "cpu", options or Options())


def pictures(sizes: tuple[Size, ...] = SIZES) -> list[Image.Image]:
    return [record(size, seed=n).image for n, size in enumerate(sizes)]


def same(one: Scored, other: Scored, scores: float = 1e-4, boxes: float = 0.05) -> bool:
    return (
        one.groups == other.groups
        and one.scores.shape == other.scores.shape
        and np.allclose(one.scores, other.scores, atol=scores)
        and np.allclose(one.boxes, other.boxes, atol=boxes)
    )


@pytest.mark.parametrize("build", BUILDERS)
def test_scores_and_boxes_are_those_of_the_published_post_processing(build: Builder) -> None:
    model, image = load(build), record().image
    inputs = model.processor(text=[QUERIES], images=image, return_tensors="pt")
    with torch.inference_mode():
        out = model.model(**inputs)
    whole = model.processor.post_process_grounded_object_detection(
        out, inputs["input_ids"], threshold=-1.0, target_sizes=[(40, 60)]
    )[0]
    (found,) = model.score([image], [(40, 60)], [QUERIES])
    boxes = whole["boxes"].numpy().clip(0, [60, 40, 60, 40])
    assert np.allclose(found.boxes, boxes, atol=1e-3)
    # [CLS] a cat . the red car . sky . [SEP]
    chances = out.logits[0].sigmoid().numpy()
    best = np.stack([chances[:, 1:3].max(1), chances[:, 4:7].max(1), chances[:, 8]], axis=1)
    assert np.allclose(found.scores, best, atol=1e-5)
    (mean,) = load(build, Options(token_score="mean")).score([image], [(40, 60)], [QUERIES])
    means = np.stack([chances[:, 1:3].mean(1), chances[:, 4:7].mean(1), chances[:, 8]], axis=1)
    assert np.allclose(mean.scores, means, atol=1e-5)


@pytest.mark.parametrize("build", BUILDERS)
def test_batch_with_queries_of_its_own_per_image_equals_single(build: Builder) -> None:
    model = load(build)
    images = pictures()
    queries = [QUERIES[: i % 4] for i in range(len(SIZES))]
    together = model.score(images, SIZES, queries)
    for image, size, asked, found in zip(images, SIZES, queries, together, strict=True):
        (alone,) = model.score([image], [size], [asked])
        assert same(found, alone)
        assert found.scores.shape == (len(found.boxes), len(asked))
        assert found.groups == ((len(asked),) if asked else ())


@pytest.mark.parametrize("build", BUILDERS)
def test_a_long_list_is_asked_in_groups_that_are_told(build: Builder) -> None:
    model, images = load(build), pictures(((40, 60), (60, 40)))
    labels = [f"{color} {thing}" for color in ("red", "blue") for thing in QUERIES * 5]
    assert model.prompter.room == 62, "the tiny model takes 64 tokens with both ends"
    found = model.score(images, [(40, 60), (60, 40)], [labels, labels[:3]])
    assert found[0].groups == (15, 15) and sum(found[0].groups) == len(labels)
    assert found[1].groups == (3,)
    apart = [model.score(images[:1], [(40, 60)], [labels[n : n + 15]])[0] for n in (0, 15)]
    assert np.allclose(found[0].boxes, np.concatenate([one.boxes for one in apart]), atol=1e-3)
    half = len(apart[0].boxes)
    assert np.allclose(found[0].scores[:half, :15], apart[0].scores, atol=1e-5)
    assert np.allclose(found[0].scores[half:, 15:], apart[1].scores, atol=1e-5)
    assert not found[0].scores[:half, 15:].any() and not found[0].scores[half:, :15].any()
    fewer = load(build, Options(labels_per_prompt=10))
    assert fewer.score(images[:1], [(40, 60)], [labels])[0].groups == (10, 10, 10)


def test_boxes_under_the_least_score_are_left_out() -> None:
    image = record().image
    (whole,) = load(grounding_dino).score([image], [(40, 60)], [QUERIES])
    least = float(np.median(whole.scores.max(axis=1)))
    model = load(grounding_dino, Options(least=least))
    (some,) = model.score([image], [(40, 60)], [QUERIES])
    kept = whole.scores.max(axis=1) >= least
    assert 0 < kept.sum() < len(kept)
    assert np.allclose(some.boxes, whole.boxes[kept]) and np.allclose(
        some.scores, whole.scores[kept]
    )
    (none,) = load(grounding_dino, Options(least=2.0)).score([image], [(40, 60)], [QUERIES])
    assert none.boxes.shape == (0, 4) and none.scores.shape == (0, 3) and none.groups == (3,)


def test_words_without_tokens_get_nothing() -> None:
    (found,) = load(grounding_dino).score([record().image], [(40, 60)], [["cat", "...", "sky"]])
    assert not found.scores[:, 1].any() and found.scores[:, [0, 2]].any(axis=0).all()
    (empty,) = load(grounding_dino).score([record().image], [(40, 60)], [["..."]])
    assert not empty.scores.any()


CAPTION = "A red cat, a dog. Two people"
SPANS = [(0, 9), (11, 16), (18, 28)]


@pytest.mark.parametrize("build", BUILDERS)
def test_phrases_are_scored_by_their_tokens_inside_the_caption(build: Builder) -> None:
    model, image = load(build, Options(token_score="mean")), record().image
    inputs = model.processor(text=f"{CAPTION}.", images=image, return_tensors="pt")
    with torch.inference_mode():
        chances = model.model(**inputs).logits[0].sigmoid().numpy()
    ((cat, dog, people),) = model.ground([image], [(40, 60)], [CAPTION], [SPANS])
    # [CLS] a red cat , a dog . two people . [SEP]
    for found, tokens in ((cat, slice(1, 4)), (dog, slice(5, 7)), (people, slice(8, 10))):
        assert found.scores is not None
        assert np.allclose(found.scores, chances[:, tokens].mean(axis=1), atol=1e-5)


def test_captions_of_one_image_and_of_several_are_independent() -> None:
    model, (wide, tall) = load(grounding_dino), pictures(((40, 60), (60, 40)))
    images, sizes = [wide, tall, wide], [(40, 60), (60, 40), (40, 60)]
    captions, spans = [CAPTION, "the sky. a tree", "a car"], [SPANS[:2], [(9, 15)], []]
    together = model.ground(images, sizes, captions, spans)
    assert [len(found) for found in together] == [2, 1, 0]
    for image, size, caption, places, found in zip(
        images, sizes, captions, spans, together, strict=True
    ):
        (alone,) = model.ground([image], [size], [caption], [places])
        for one, other in zip(found, alone, strict=True):
            assert one.scores is not None and other.scores is not None
            assert np.allclose(one.boxes, other.boxes, atol=0.05)
            assert np.allclose(one.scores, other.scores, atol=1e-4)


def test_a_caption_longer_than_the_model_reads_is_cut() -> None:
    model, image = load(grounding_dino), record().image
    caption = " ".join(["The red cat of the sky."] * 12)
    spans = [(0, 11), (len(caption) - 8, len(caption) - 1), (3, 3)]
    ((first, last, nothing),) = model.ground([image], [(40, 60)], [caption], [spans])
    assert first.scores is not None and last.scores is not None and nothing.scores is not None
    assert first.scores.any() and last.scores.any() and len(nothing.boxes) == 0
    # The last of the pieces holds what the last ten of the 62 tokens cover.
    tail = " ".join(["The red cat of the sky."] * 3)
    place = (len(tail) - 8, len(tail) - 1)
    assert len(model.prompter.of_caption(caption, spans)) == 2
    ((again,),) = model.ground([image], [(40, 60)], [tail], [[place]])
    assert again.scores is not None and again.scores.shape == last.scores.shape


def test_a_foreign_vocabulary_is_refused(tmp_path: Path) -> None:
    model, processor = grounding_dino()
    model.save_pretrained(tmp_path)
    processor.tokenizer = bert_tokenizer()
    processor.save_pretrained(tmp_path)
    with pytest.raises(SettingsError, match="bert-base-uncased"):
        dino.load(str(tmp_path), "cpu", Options())
