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


def sam() -> tuple[Any, Any]:
    """SAM: longest side scaled, padded to a square."""
    from transformers import (
        SamConfig,
        SamImageProcessorPil,
        SamMaskDecoderConfig,
        SamModel,
        SamProcessor,
        SamPromptEncoderConfig,
        SamVisionConfig,
    )

    side, patch, width = 64, 8, 16
    vision = SamVisionConfig(
        hidden_size=16,
        output_channels=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=side,
        patch_size=patch,
        initializer_range=0.02,
        window_size=4,
        global_attn_indexes=[0],
        num_pos_feats=width // 2,
    )
    prompts = SamPromptEncoderConfig(hidden_size=width, image_size=side, patch_size=patch)
    decoder = SamMaskDecoderConfig(
        hidden_size=width, mlp_dim=16, num_attention_heads=2, iou_head_hidden_dim=16
    )
    config = SamConfig(
        vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder
    )
    images = SamImageProcessorPil(
        size={"longest_edge": side},
        mask_size={"longest_edge": side // 2},
        pad_size={"height": side, "width": side},
        mask_pad_size={"height": side // 2, "width": side // 2},
    )
    return lively(SamModel(config)), SamProcessor(images)


def dpt() -> tuple[Any, Any]:
    """DPT on a plain ViT: squashed images."""
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessorPil

    config = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=SIDE,
        patch_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        reassemble_factors=[4, 2, 1, 0.5],
        is_hybrid=False,
        backbone_config=None,
    )
    images = DPTImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return loud(DPTForDepthEstimation(config)), images


def depth_anything() -> tuple[Any, Any]:
    """Depth Anything: the aspect ratio is kept, so batches can have mixed shapes."""
    from transformers import (
        DepthAnythingConfig,
        DepthAnythingForDepthEstimation,
        Dinov2Config,
        DPTImageProcessorPil,
    )

    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=28,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        patch_size=14,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
    )
    images = DPTImageProcessorPil(
        size={"height": 70, "width": 70}, keep_aspect_ratio=True, ensure_multiple_of=14
    )
    return loud(DepthAnythingForDepthEstimation(config)), images


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


def lively(model: Any) -> Any:
    """Masks whose logits differ from 0: the library's start is meant for loaded weights."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.reset_parameters()
    # Quality estimates in the middle of [0, 1].
    torch.nn.init.constant_(model.mask_decoder.iou_prediction_head.proj_out.bias, 0.5)
    return model


def loud(model: Any) -> Any:
    """Depth maps whose values differ: the library's start is meant for loaded weights."""
    import torch

    for module in (*model.neck.modules(), *model.head.modules()):
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.normal_(module.weight, std=(module.weight[0].numel() / 2) ** -0.5)
    # The last step cuts off what is below 0.
    last = [m for m in model.head.modules() if isinstance(m, torch.nn.Conv2d)][-1]
    assert last.bias is not None
    torch.nn.init.constant_(last.bias, 1.0)
    return model


def _calm(model: Any) -> Any:
    """Detection heads start with so large weights that every box is the whole image or nothing."""
    import torch

    with torch.no_grad():
        for head in (model.class_head, model.box_head):
            for name, weight in head.named_parameters():
                if name.endswith("weight"):
                    weight.mul_(weight.shape[1] ** -0.5)
    return model
