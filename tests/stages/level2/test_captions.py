import pytest

from grand_pipeline.columns import CAPTIONS
from stages.level2.captions import Captions
from tests.tiny.checkpoints import Builder, blip, checkpoint, llava
from tests.tiny.records import ODD_SIZES, record
from tests.tiny.vlms import blip2, florence2, kosmos2, qwen2_5_vl, qwen3_vl

COLUMN = CAPTIONS.of("s")


def stage(build: Builder, **options: str | int | None) -> Captions:
    return Captions(source="s", model=checkpoint(build), **options)  # type: ignore[arg-type]  # mixed


@pytest.mark.parametrize("build", [blip, blip2, llava, florence2, kosmos2, qwen2_5_vl, qwen3_vl])
@pytest.mark.parametrize("beams", [1, 2])
def test_same_words_in_and_out_of_a_batch(build: Builder, beams: int) -> None:
    captions = stage(build, num_beams=beams, max_new_tokens=4, max_pixels=1600)
    model = captions.load("cpu")
    sizes = ((40, 60), (900, 700), *ODD_SIZES, (40, 60))
    records = [record(size, seed=i) for i, size in enumerate(sizes)]
    rows = captions.annotate(model, records)
    assert rows == [captions.annotate(model, [one])[0] for one in records]
    for row in rows:
        assert len(row[COLUMN].split()) <= 4
        assert row[COLUMN] == row[COLUMN].strip()


def test_no_run_of_words_is_written_twice() -> None:
    captions = stage(blip, max_new_tokens=12, no_repeat_ngram=1)
    (row,) = captions.annotate(captions.load("cpu"), [record()])
    words = row[COLUMN].split()
    free = stage(blip, max_new_tokens=12)
    (loop,) = free.annotate(free.load("cpu"), [record()])
    assert len(words) == len(set(words))
    assert len(loop[COLUMN].split()) > len(set(loop[COLUMN].split()))


@pytest.mark.parametrize("build", [blip, blip2])
def test_captioner_goes_on_from_its_prompt_without_repeating_it(build: Builder) -> None:
    captions = stage(build, prompt="a photo of", max_new_tokens=3)
    (row,) = captions.annotate(captions.load("cpu"), [record()])
    assert row[COLUMN] and not row[COLUMN].startswith("a photo of")


def test_florence_takes_its_prompt_as_a_task() -> None:
    captions = stage(florence2, prompt="<DETAILED_CAPTION>", max_new_tokens=6)
    model = captions.load("cpu")
    rows = [c.annotate(model, [record()]) for c in (captions, stage(florence2, max_new_tokens=6))]
    assert rows[0] != rows[1]


def test_chat_model_does_not_repeat_the_question() -> None:
    captions = stage(llava, prompt="picture of people", max_new_tokens=3)
    (row,) = captions.annotate(captions.load("cpu"), [record()])
    assert "picture of people" not in row[COLUMN] and "ASSISTANT :" not in row[COLUMN]
