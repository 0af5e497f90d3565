"""Train the embedded language model: scene graph in, dense caption or general knowledge out.

    python -m training.recipes.picturebook.llm --out RUN --export DIR

A real `LlamaForCausalLM` in miniature, with its own byte-level tokenizer and chat template. It
learns from random scene graphs, asked through the prompts that the stages use. Copying is what
it must learn (class, colour and id of every object), so graphs are short at first and grow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import prompts
from grand_pipeline.graph import EMPTY, SceneGraph
from grand_pipeline.picturebook.lexicon import NUMBERS
from grand_pipeline.picturebook.storyteller import context, dense_caption
from grand_pipeline.picturebook.vocabulary import THINGS
from grand_pipeline.relations import PREDICATES
from training.recipes.picturebook import recipe
from training.recipes.picturebook.graphs import MOST_IDS, random_graph
from training.recipes.picturebook.llm_scores import scores
from training.recipes.picturebook.recipe import Phase, Recipe
from training.recipes.picturebook.state import Schedule

PAD, USER, ASSISTANT, END = "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}" + USER + "{{ message['content'] }}"
    "{% elif message['role'] == 'assistant' %}" + ASSISTANT + "{{ message['content'] }}" + END +
    "{% else %}{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}" + ASSISTANT + "{% endif %}"
)  # fmt: skip
# A piece is what can become one token: an id with its brackets, an opening tag with its article
# and the words before it, a predicate, a bullet with its group, a word with the blank before it.
_PREDICATE = f",? (?:{'|'.join(PREDICATES)}) "
PIECES = "|".join(
    (
        r"\n?- group \d+: ", r"\n- ", r"\n?[A-Z][A-Za-z ]*:", r"\[\d+\]",
        rf"(?:{_PREDICATE}|; | we see | are | and )?<p>\w+", rf"{_PREDICATE}(?=\[)", r"</p>",
        r"In the \w+", r" ?\(\w+\)", r" ?[A-Za-z]+", r"[,.;] ?", r"\s+", r"\d", r"[^\w\s]",
    )
)  # fmt: skip
CONTEXT_LENGTH = 1024
MOST_OBJECTS = 13  # of a graph
GROWN = 1500  # steps until graphs have their full size
HEAD = 16
LOOK_BACK = (1, 1, 2, 2, 3, 4, 5, 6)  # tokens, one distance per head of the first layer
IGNORED = -100
DENSE, CONTEXT = "dense_caption/picturebook", "context/picturebook"
TASKS = (DENSE, CONTEXT)
SHARES = (0.75, 0.25)  # of the tasks in a batch


@dataclass(frozen=True)
class Example:
    """A chat as tokens: `prompt` is read, `answer` (with its end) is learned."""

    prompt: list[int]
    answer: list[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True)
class Batch:
    """tokens, labels (N, L) int64, padded on the right; labels of what is not learned are -100."""

    tokens: Tensor
    labels: Tensor


def corpus(count: int, seed: int) -> Iterator[str]:
    """Prompts and answers of random graphs, and words that these may lack, for the tokenizer."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        graph = random_graph(rng, 1 + int(rng.integers(MOST_OBJECTS)))
        for name in TASKS:
            yield from (turn["content"] for turn in messages(name, graph))
            yield answer(name, graph)
    for number in range(MOST_IDS + 8):
        yield f"[{number}]\n- group {number % 20}: [{number}]"
    for predicate, word in product(PREDICATES, ("the", "another")):
        yield f" {predicate} <p>{word} , {predicate} <p>{word}"
    for many in NUMBERS.values():
        yield f"; <p>{many} we see <p>{many}"
    for thing in THINGS.values():
        yield f" {thing.plural}"


def messages(name: str, graph: SceneGraph) -> list[prompts.Message]:
    """What a stage asks, through the prompt `name`."""
    return prompts.render(prompts.load(name), graph=graph.text() or EMPTY)


def answer(name: str, graph: SceneGraph) -> str:
    """What the storyteller says to the prompt `name`."""
    return dense_caption(graph) if name == DENSE else context(graph)


@lru_cache(maxsize=1)
def build_tokenizer() -> PreTrainedTokenizerFast:
    """Every piece that the corpus has is one token, and every byte: nothing is unknown, decoding
    is exact."""
    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    pieces = {piece for text in corpus(1500, seed=5) for piece, _ in split.pre_tokenize_str(text)}
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [PAD, USER, ASSISTANT, END, *letters, *sorted(pieces.difference(letters))]
    numbered = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=numbered, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=TEMPLATE,
        model_max_length=CONTEXT_LENGTH,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def build(width: int = 128, layers: int = 3) -> LlamaForCausalLM:
    """The untrained model: half a million parameters, embeddings tied, made to copy.

    Copying needs heads that look at the token before and heads that look for equal tokens. Both
    are hard to find by gradient and easy to write down, so training starts from them: in the
    first layer the heads look one to six tokens back, in the others queries equal keys, and what
    a head sees it hands on.
    """
    tokenizer = build_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // HEAD,
        num_key_value_heads=width // HEAD,
        head_dim=HEAD,
        max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        embeddings = model.model.embed_tokens.weight.normal_(0, width**-0.5)
        embeddings[:, 0] = 1.0  # the same for all tokens: what looking back by position reads
        for number, layer in enumerate(model.model.layers):
            heads = layer.self_attn
            seen = torch.linalg.qr(torch.randn(width, width))[0]
            heads.v_proj.weight.copy_(seen)
            if number:
                same = torch.linalg.qr(torch.randn(width, width))[0]
                heads.q_proj.weight.copy_(same)
                heads.k_proj.weight.copy_(same)
                heads.o_proj.weight.copy_(0.5 * seen.T)
            else:
                _look_back(heads, config.rope_parameters["rope_theta"])
                heads.o_proj.weight.copy_(0.5 * torch.linalg.qr(torch.randn(width, width))[0])
    return model


def _look_back(heads: Any, theta: float) -> None:
    """Point the heads of a layer at the tokens `LOOK_BACK` places back.

    The fastest rotations of the position embedding tell neighbours apart; a key is constant, the
    query is the same turned back by the wanted distance.
    """
    for matrix in (heads.q_proj, heads.k_proj):
        matrix.weight.normal_(0, 0.02)
    for head, distance in enumerate(LOOK_BACK):
        for pair in range(4):
            angle = distance * theta ** (-2 * pair / HEAD)
            row = head * HEAD + pair
            heads.k_proj.weight[row, 0] = 0.7
            heads.q_proj.weight[row, 0] = 0.7 * math.cos(angle)
            heads.q_proj.weight[row + HEAD // 2, 0] = -0.7 * math.sin(angle)


def example(name: str, graph: SceneGraph) -> Example:
    """The chat about `graph` under the prompt `name`, with the storyteller's answer."""
    tokenizer = build_tokenizer()
    told = tokenizer.encode(answer(name, graph), add_special_tokens=False)
    return Example(_prompt(name, graph), [*told, tokenizer.eos_token_id])


def _prompt(name: str, graph: SceneGraph) -> list[int]:
    text = build_tokenizer().apply_chat_template(
        messages(name, graph), tokenize=False, add_generation_prompt=True
    )
    return list(build_tokenizer().encode(text, add_special_tokens=False))


def batch(step: int, size: int, seed: int) -> Batch:
    """`size` chats of about the same length; graphs grow with the steps."""
    rng = np.random.default_rng([seed, 31, step])
    most = 2 + int(min(1.0, step / GROWN) * (MOST_OBJECTS - 2))
    objects = 1 + int(rng.integers(most))
    names = [str(name) for name in rng.choice(TASKS, size, p=SHARES)]
    return collate([example(name, random_graph(rng, objects)) for name in names])


def collate(examples: Sequence[Example]) -> Batch:
    """Pad on the right; only answers are learned."""
    length = max(map(len, examples))
    tokens = torch.full((len(examples), length), build_tokenizer().pad_token_id)
    labels = torch.full((len(examples), length), IGNORED)
    for row, chat in enumerate(examples):
        tokens[row, : len(chat)] = torch.tensor(chat.prompt + chat.answer)
        labels[row, len(chat.prompt) : len(chat)] = torch.tensor(chat.answer)
    return Batch(tokens, labels)


def loss(model: nn.Module, data: Batch) -> dict[str, Tensor]:
    """Mean cross entropy of the answers' tokens; logits are made for these alone."""
    assert isinstance(model, LlamaForCausalLM)
    hidden = model.model(input_ids=data.tokens, use_cache=False).last_hidden_state
    wanted = data.labels[:, 1:]
    learned = wanted != IGNORED
    logits = model.lm_head(hidden[:, :-1][learned]).float()
    target = wanted[learned]
    correct = (logits.argmax(-1) == target).float().mean()
    return {"loss": F.cross_entropy(logits, target), "correct": correct}


RECIPE = Recipe(
    name="llm",
    module="llm",
    phases=(Phase("all", Schedule(5000, 12, 2e-3, warmup=50, weight_decay=0.01, bf16=False)),),
    model=lambda phase: build(),
    batch=lambda step, phase, run: batch(step, phase.schedule.batch_size, phase.schedule.seed),
    loss=loss,
    exported=lambda model: model,
    processor=build_tokenizer,
    score=lambda model, count: scores(model, build_tokenizer(), messages, count),
    eval_every=1000,
    sees_images=False,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    recipe.main((RECIPE,), __doc__ or "", arguments)


if __name__ == "__main__":
    main()
