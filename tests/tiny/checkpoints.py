"""One builder per architecture, and `checkpoint`, which saves what a builder makes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from tests.tiny import words

Builder = Callable[[], tuple[Any, Any]]
"""Makes a model and its processor."""

SIDE = 32


def _clip_towers(tokenizer: Any) -> dict[str, dict[str, Any]]:
    small = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    text = {
        **small,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 16,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    return {"text_config": text, "vision_config": {**small, "image_size": SIDE, "patch_size": 8}}


def clip() -> tuple[Any, Any]:
    """CLIP: resize and centre crop, softmax over texts."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor

    tokenizer = words.clip_tokenizer()
    images = CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    config = CLIPConfig(**_clip_towers(tokenizer), projection_dim=16)
    return CLIPModel(config), CLIPProcessor(images, tokenizer)


def siglip() -> tuple[Any, Any]:
    """SigLIP: squashed images, texts padded to full length, a sigmoid per text."""
    from transformers import (
        SiglipConfig,
        SiglipImageProcessorPil,
        SiglipModel,
        SiglipProcessor,
    )

    tokenizer = words.clip_tokenizer()
    towers = _clip_towers(tokenizer)
    towers["text_config"]["projection_size"] = 16
    images = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return SiglipModel(SiglipConfig(**towers)), SiglipProcessor(images, tokenizer)


def owl_vit() -> tuple[Any, Any]:
    """OWL-ViT: squashed images."""
    from transformers import (
        OwlViTConfig,
        OwlViTForObjectDetection,
        OwlViTImageProcessorPil,
        OwlViTProcessor,
    )

    tokenizer = words.clip_tokenizer()
    config = OwlViTConfig(**_clip_towers(tokenizer), projection_dim=16)
    images = OwlViTImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    return _calm(OwlViTForObjectDetection(config)), OwlViTProcessor(images, tokenizer)


def owlv2() -> tuple[Any, Any]:
    """OWLv2: images padded to a square."""
    from transformers import (
        Owlv2Config,
        Owlv2ForObjectDetection,
        Owlv2ImageProcessorPil,
        Owlv2Processor,
    )

    tokenizer = words.clip_tokenizer()
    config = Owlv2Config(**_clip_towers(tokenizer), projection_dim=16)
    images = Owlv2ImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return _calm(Owlv2ForObjectDetection(config)), Owlv2Processor(images, tokenizer)


def blip() -> tuple[Any, Any]:
    """BLIP: a captioner that starts from [DEC]."""
    from transformers import (
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessorPil,
        BlipProcessor,
    )

    tokenizer = words.bert_tokenizer()
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "encoder_hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": 8,
    }
    config = BlipConfig(text_config=text, vision_config=vision, projection_dim=16)
    images = BlipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return BlipForConditionalGeneration(config), BlipProcessor(images, tokenizer)


def llava() -> tuple[Any, Any]:
    """LLaVA: a chat model that repeats the conversation before its answer."""
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = words.word_tokenizer(image_token="<image>")
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=8,
        projection_dim=16,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=image_token)
    images = CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    template = (
        "{% for m in messages %}USER : {% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }} {% endif %}"
        "{% endfor %}{% endfor %}ASSISTANT :"
    )
    processor = LlavaProcessor(
        images,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )
    return LlavaForConditionalGeneration(config), processor


@cache
def checkpoint(build: Builder) -> str:
    """Folder of the checkpoint made by `build`, the same one for the whole test session."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    folder = Path(mkdtemp(prefix=f"tiny-{build.__name__}-"))
    torch.manual_seed(0)
    model, processor = build()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def _calm(model: Any) -> Any:
    """Detection heads start with so large weights that every box is the whole image or nothing."""
    import torch

    with torch.no_grad():
        for head in (model.class_head, model.box_head):
            for name, weight in head.named_parameters():
                if name.endswith("weight"):
                    weight.mul_(weight.shape[1] ** -0.5)
    return model
