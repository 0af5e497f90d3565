"""Tiny vision-language models beside `checkpoints.blip` and `checkpoints.llava`."""

from __future__ import annotations

from typing import Any

from tests.tiny.words import WORDS

SIDE, PATCH = 32, 8
ANSWERS = ("A", "B", "C", "D")
QUERIES = 4
"""Image tokens of BLIP-2 and Kosmos-2."""

_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }} {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)


def _tokenizer(marks: tuple[str, ...], places: tuple[str, ...] = (), **special: str) -> Any:
    """Words; `marks` are the special ones before them, `places` stand behind them, unsplit."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    symbols = [*marks, *special.values(), *WORDS, *ANSWERS, "user", "assistant", "."]
    raw = Tokenizer(models.WordLevel({symbol: i for i, symbol in enumerate(symbols)}, "<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.add_special_tokens([AddedToken(mark, normalized=False, special=True) for mark in marks])
    raw.add_tokens([AddedToken(place, normalized=False) for place in places])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens=special,
    )


_BASIC = ("<s>", "<pad>", "</s>", "<unk>")


def _small(**more: Any) -> dict[str, Any]:
    return {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        **more,
    }


def outspoken(model: Any, quiet: list[int] | None = None) -> Any:
    """Texts that differ from image to image: the library's start is meant for loaded weights.

    Of the tokens `quiet` the model rarely speaks, where its output is tied to its input.
    """
    import torch

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Conv2d | torch.nn.Conv3d):
                wide = module.weight[0].numel()
                torch.nn.init.normal_(module.weight, std=2 * wide**-0.5)
            elif isinstance(module, torch.nn.Embedding):
                torch.nn.init.normal_(module.weight)
        if quiet:
            model.get_input_embeddings().weight[quiet] *= 0.1
    return model


def _no_words(tokenizer: Any) -> list[int]:
    """Tokens that are no words."""
    vocabulary = tokenizer.get_vocab()
    return [n for symbol, n in vocabulary.items() if symbol not in WORDS]


def blip2() -> tuple[Any, Any]:
    """BLIP-2 on OPT: goes on from a text behind the image's tokens."""
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2Processor,
        BlipImageProcessorPil,
    )

    tokenizer = _tokenizer(_BASIC)
    images = BlipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    # It gives the tokenizer the mark of an image.
    processor = Blip2Processor(images, tokenizer, num_query_tokens=QUERIES)
    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    text = {
        **_small(ffn_dim=32, word_embed_proj_dim=16, max_position_embeddings=128),
        "model_type": "opt",
        "vocab_size": len(tokenizer),
        **ids,
    }
    config = Blip2Config(
        vision_config=_small(image_size=SIDE, patch_size=PATCH, initializer_range=0.02),
        qformer_config=_small(encoder_hidden_size=16, cross_attention_frequency=1),
        text_config=text,
        num_query_tokens=QUERIES,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    return outspoken(Blip2ForConditionalGeneration(config)), processor


def florence2() -> tuple[Any, Any]:
    """Florence-2: squashed images, tasks as sentences, places as tokens."""
    from transformers import (
        BartConfig,
        CLIPImageProcessorPil,
        Florence2Config,
        Florence2ForConditionalGeneration,
        Florence2Processor,
    )

    places = tuple(f"<loc_{n}>" for n in range(1000))
    tokenizer = _tokenizer(_BASIC, places, image_token="<image>")
    vision = {
        "depths": [1, 1, 1, 1],
        "embed_dim": [8, 8, 16, 16],
        "num_heads": [1, 1, 2, 2],
        "num_groups": [1, 1, 2, 2],
        "window_size": 2,
        "projection_dim": 16,
        "drop_path_rate": 0.0,
    }
    text = BartConfig(
        vocab_size=len(tokenizer),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        max_position_embeddings=128,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
        forced_eos_token_id=None,
    )
    config = Florence2Config(
        vision_config=vision, text_config=text, image_token_id=tokenizer.image_token_id
    )
    images = CLIPImageProcessorPil(size={"height": 64, "width": 64}, do_center_crop=False)
    images.image_seq_length = (64 // 32) ** 2 + 1
    model = outspoken(Florence2ForConditionalGeneration(config), _no_words(tokenizer))
    return model, Florence2Processor(images, tokenizer, post_processor_config={"pure_text": {}})


def kosmos2() -> tuple[Any, Any]:
    """Kosmos-2 with a grid of 4 x 4 patches."""
    from transformers import (
        CLIPImageProcessorPil,
        Kosmos2Config,
        Kosmos2ForConditionalGeneration,
        Kosmos2Processor,
    )

    # Image tokens are the ids behind that of the unknown word.
    tokenizer = _tokenizer((*_BASIC, *(f"<seen_{n}>" for n in range(QUERIES))))
    images = CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    processor = Kosmos2Processor(images, tokenizer, num_patch_index_tokens=16)
    text = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 128,
        "embed_dim": 16,
        "layers": 1,
        "ffn_dim": 32,
        "attention_heads": 2,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    config = Kosmos2Config(
        vision_config=_small(image_size=SIDE, patch_size=PATCH),
        text_config=text,
        latent_query_num=QUERIES,
    )
    return outspoken(Kosmos2ForConditionalGeneration(config), _no_words(tokenizer)), processor


def _qwen(template: str | None) -> tuple[dict[str, Any], Any]:
    """Options that both Qwen share, and the tokenizer."""
    tokenizer = _tokenizer(
        (*_BASIC, "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
        image_token="<|image_pad|>",
        video_token="<|video_pad|>",
    )
    tokenizer.chat_template = template
    ids = {
        "image_token_id": tokenizer.image_token_id,
        "video_token_id": tokenizer.video_token_id,
        "vision_start_token_id": tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        "vision_end_token_id": tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    }
    return ids, tokenizer


def _qwen_text(tokenizer: Any, **more: Any) -> dict[str, Any]:
    return {
        **_small(num_key_value_heads=1, vocab_size=len(tokenizer), max_position_embeddings=2048),
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]},
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        **more,
    }


def _qwen_images(patch: int) -> Any:
    from transformers import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil(
        size={"shortest_edge": (2 * patch) ** 2, "longest_edge": (8 * patch) ** 2},
        patch_size=patch,
    )


class _Together:
    """An image processor and a tokenizer saved into one folder, as a processor would: the real one
    needs torchvision for videos."""

    def __init__(self, images: Any, tokenizer: Any) -> None:
        self.parts = (images, tokenizer)

    def save_pretrained(self, folder: Any) -> None:
        """Save both."""
        for part in self.parts:
            part.save_pretrained(folder)


def qwen2_5_vl(template: str | None = _CHAT) -> tuple[Any, Any]:
    """Qwen2.5-VL: an image has as many tokens as it has room for."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    ids, tokenizer = _qwen(template)
    vision = {
        "depth": 2,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_heads": 2,
        "patch_size": 4,
        "window_size": 16,
        "out_hidden_size": 16,
        "fullatt_block_indexes": [1],
    }
    config = Qwen2_5_VLConfig(text_config=_qwen_text(tokenizer), vision_config=vision, **ids)
    model = outspoken(Qwen2_5_VLForConditionalGeneration(config))
    return model, _Together(_qwen_images(4), tokenizer)


def bare_qwen2_5_vl() -> tuple[Any, Any]:
    """A Qwen2.5-VL without chat template."""
    return qwen2_5_vl(None)


def qwen3_vl() -> tuple[Any, Any]:
    """Qwen3-VL: as Qwen2.5-VL, with other positions and more ways into the language model."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    ids, tokenizer = _qwen(_CHAT)
    vision = {
        "depth": 2,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_heads": 2,
        "patch_size": 4,
        "out_hidden_size": 16,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0],
    }
    text = _qwen_text(tokenizer, head_dim=8)
    config = Qwen3VLConfig(text_config=text, vision_config=vision, **ids)
    model = outspoken(Qwen3VLForConditionalGeneration(config))
    return model, _Together(_qwen_images(4), tokenizer)
