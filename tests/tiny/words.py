"""Tokenizers of a few words for tiny checkpoints."""

from __future__ import annotations

from typing import Any

WORDS = (
    *("a", "an", "the", "red", "green", "blue", "cat", "dog", "car", "tree", "sky", "grass"),
    *("photo", "of", "two", "several", "picture", "people", "indoor", "outdoor", "apple"),
)


def clip_tokenizer(length: int = 16) -> Any:
    """A CLIP tokenizer of single letters; its end token has the highest id."""
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    symbols = ["<pad>", "<start>", *letters, *(f"{x}</w>" for x in letters), "<end>"]
    return CLIPTokenizer(
        vocab={symbol: index for index, symbol in enumerate(symbols)},
        merges=[],
        pad_token="<pad>",
        bos_token="<start>",
        eos_token="<end>",
        unk_token="<end>",
        model_max_length=length,
    )


def bert_tokenizer() -> Any:
    """A BERT tokenizer with the decoder start token that BLIP adds."""
    from transformers import BertTokenizer

    symbols = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", *WORDS, "."]
    return BertTokenizer(
        vocab={symbol: index for index, symbol in enumerate(symbols)}, bos_token="[DEC]"
    )


def word_tokenizer(**special: str) -> Any:
    """A plain word tokenizer, for models that take any fast tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    symbols = ["<pad>", "<s>", "</s>", "<unk>", *special.values(), "USER", "ASSISTANT", ":", *WORDS]
    raw = Tokenizer(
        models.WordLevel({symbol: i for i, symbol in enumerate(symbols)}, unk_token="<unk>")
    )
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        padding_side="left",
        extra_special_tokens=special,
    )


def roberta_tokenizer() -> Any:
    """RoBERTa's byte-level tokenizer with a few merges: most characters are tokens of their own."""
    from tokenizers import pre_tokenizers
    from transformers import RobertaTokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", "d"), ("o", "g"), ("Ġd", "og"), ("Ġ", "c"), ("a", "t"), ("Ġc", "at")]
    symbols = ["<s>", "<pad>", "</s>", "<unk>", *letters, *(a + b for a, b in merges), "<mask>"]
    return RobertaTokenizer(vocab={s: n for n, s in enumerate(symbols)}, merges=merges)
