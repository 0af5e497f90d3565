from pathlib import Path

import pytest

from stages import vlm
from stages.vlm import Writing
from tests.tiny.checkpoints import Builder, blip, checkpoint
from tests.tiny.records import record
from tests.tiny.vlms import QUERIES, blip2

IMAGES = [record(seed=n).image for n in range(2)]


@pytest.mark.parametrize("build", [blip, blip2])
def test_what_is_gone_on_from_is_not_said_again(build: Builder) -> None:
    model = vlm.load(checkpoint(build), "cpu")
    texts = model.ask(IMAGES, ["a photo of"] * 2, Writing(4))
    assert all(texts) and not any(text.startswith("a photo of") for text in texts)
    assert len(texts[0].split()) <= 4
    assert texts != model.ask(IMAGES, [None] * 2, Writing(4))


def test_beams_and_repeated_words() -> None:
    model = vlm.load(checkpoint(blip), "cpu")
    (free,) = model.ask(IMAGES[:1], [None], Writing(12))
    (loose,) = model.ask(IMAGES[:1], [None], Writing(12, num_beams=3, no_repeat_ngram=1))
    assert len(free.split()) > len(set(free.split()))
    assert len(loose.split()) == len(set(loose.split()))


def test_a_processor_that_forgot_the_image_s_places_is_told(tmp_path: Path) -> None:
    model, processor = blip2()
    processor.num_query_tokens = None
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = vlm.load(str(tmp_path), "cpu")
    assert loaded.ask(IMAGES[:1], [None], Writing(4))[0]
    assert vars(loaded)["processor"].num_query_tokens == QUERIES
