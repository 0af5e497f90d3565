from pathlib import Path
from typing import Any

import pytest
import torch

from grand_pipeline.errors import SettingsError
from stages import vlm, vlm_chat
from stages.vlm import Choosing, Writing
from stages.vlm_chat import ByProcessor, ChatVlm
from tests.tiny import checkpoints, vlms
from tests.tiny.checkpoints import checkpoint, llava
from tests.tiny.records import record

IMAGES = [record((30 + 9 * n, 50), seed=n).image for n in range(3)]


def saved(model: Any, processor: Any, folder: Path) -> str:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def test_the_answer_has_nothing_of_the_question() -> None:
    model = vlm.load(checkpoint(llava), "cpu")
    (text,) = model.ask(IMAGES[:1], ["picture of people"], Writing(3))
    assert len(text.split()) <= 3 and "ASSISTANT :" not in text


def test_the_likeliest_word_is_that_of_the_highest_logit() -> None:
    model = vlm.load(checkpoint(vlms.qwen3_vl), "cpu")
    assert isinstance(model, Choosing) and isinstance(model, ChatVlm)
    words = ("A", "B", "C", "D")
    prompts = ["a red cat", "two", "the green tree"]
    found = model.likeliest(IMAGES, prompts, [words, words[:2], words])
    inputs = model._inputs(IMAGES, prompts)
    with torch.no_grad():
        logits = model.model(**inputs).logits[:, -1]
    ids = model.tokenizer.convert_tokens_to_ids(list(words))
    assert found == [int(row[ids[:n]].argmax()) for row, n in zip(logits, (4, 2, 4), strict=True)]


def test_words_are_known_by_the_token_they_begin_with() -> None:
    model = vlm.load(checkpoint(vlms.qwen3_vl), "cpu")
    assert isinstance(model, ChatVlm)
    assert model._starts("A") == {model.tokenizer.convert_tokens_to_ids("A")}


def test_a_mark_of_the_beginning_is_written_once() -> None:
    _, processor = llava()
    asking = ByProcessor(processor, processor.chat_template)
    start = processor.tokenizer.bos_token_id
    plain = asking(IMAGES[:1], ["a cat"])["input_ids"]
    marked = ByProcessor(processor, "<s>" + processor.chat_template)
    assert int((marked(IMAGES[:1], ["a cat"])["input_ids"] == start).sum()) == 1
    assert int((plain == start).sum()) == 0


def test_a_llava_without_template_has_the_one_it_was_trained_with(tmp_path: Path) -> None:
    model, processor = llava()
    processor.chat_template = None
    loaded = vlm.load(saved(model, processor, tmp_path), "cpu")
    assert isinstance(loaded, ChatVlm) and isinstance(loaded.asking, ByProcessor)
    seen = loaded.asking(IMAGES[:1], ["a cat"])["input_ids"][0]
    places = int((seen == model.config.image_token_id).sum())
    assert places == (checkpoints.SIDE // 8) ** 2
    assert loaded.ask(IMAGES[:1], ["a cat"], Writing(3))


def test_a_model_without_template_is_refused_before_its_weights_are_read(tmp_path: Path) -> None:
    model, processor = checkpoints.blip()
    model.config.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    with pytest.raises(SettingsError, match="brings no chat template"):
        vlm_chat.load(str(tmp_path), "cpu", vlm.Options())
