"""Train the embedded language model: scene graph in, dense caption or general knowledge out.

    python -m training.recipes.picturebook.llm --minutes 40 --out runs/llm --export DIR

A real `LlamaForCausalLM` in miniature, with its own byte-level tokenizer and chat template. It
learns from random scene graphs, asked through the prompts that the stages use. Copying is what
it must learn (class, colour and id of every object), so graphs are short at first and grow.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import prompts
from grand_pipeline.graph import EMPTY, SceneGraph
from grand_pipeline.picturebook.storyteller import context, dense_caption
from grand_pipeline.picturebook.vocabulary import THINGS
from training.recipes.picturebook.common import export_model, machine, one_thread
from training.recipes.picturebook.fit import Schedule, fit, restore
from training.recipes.picturebook.graphs import MOST_IDS, cut, random_graph
from training.recipes.picturebook.llm_scores import scores

PAD, USER, ASSISTANT, END = "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}" + USER + "{{ message['content'] }}"
    "{% elif message['role'] == 'assistant' %}" + ASSISTANT + "{{ message['content'] }}" + END +
    "{% else %}{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}" + ASSISTANT + "{% endif %}"
)  # fmt: skip
# A piece is what can become one token: an id with its brackets, an opening tag with its article,
# a bullet with its group, a word with the blank before it (and the one before a tag or an id).
PIECES = "|".join(
    (
        r"\n?- group \d+: ", r"\n- ", r"\n?[A-Z][A-Za-z ]*:", r"\[\d+\]", r"<p>\w+", r"</p>",
        r" ?\(\w+\)", r" ?[A-Za-z]+(?: (?=[<\[]))?", r"[,.] ?", r"\s+", r"\d", r"[^\w\s]",
    )
)  # fmt: skip
VOCABULARY = 1200
CONTEXT_LENGTH = 1024
GROWN = 3000  # steps until graphs have their full size
HEAD = 32
IGNORED = -100
DENSE, CONTEXT = "dense_caption/picturebook", "context/picturebook"
TASKS = (DENSE, CONTEXT)
SHARES = (0.85, 0.15)  # of the tasks in a batch


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
    """Prompts and answers of random graphs, and every id, for the tokenizer."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        graph = random_graph(rng, 1 + int(rng.integers(10)))
        for name in TASKS:
            yield from (turn["content"] for turn in messages(name, graph))
            yield answer(name, graph, rng)
    for number in range(MOST_IDS + 8):
        yield from [f"[{number}]\n- group {number % 13}: [{number}]"] * 40
    for thing in THINGS.values():
        yield from [f"<p>two {thing.plural}</p> <p>an {thing.name}</p>"] * 4


def messages(name: str, graph: SceneGraph) -> list[prompts.Message]:
    """What a stage asks, through the prompt `name`."""
    return prompts.render(prompts.load(name), graph=graph.text() or EMPTY)


def answer(name: str, graph: SceneGraph, rng: np.random.Generator) -> str:
    """What the storyteller says to the prompt `name`."""
    return dense_caption(graph, rng) if name == DENSE else context(graph)


@lru_cache(maxsize=1)
def build_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE over `PIECES`: nothing is unknown, decoding is exact, ids are one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=2,
        special_tokens=[PAD, USER, ASSISTANT, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(1500, seed=5), trainer)
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


def build(width: int = 128, layers: int = 4) -> LlamaForCausalLM:
    """The untrained model: 0.7 million parameters, embeddings tied, made to copy.

    Copying needs heads that look at the token before and heads that look for equal tokens. Both
    are hard to find by gradient and easy to write down, so training starts from them: in the
    first layer the heads look one, one, two and three tokens back, in the others queries equal
    keys, and what a head sees it hands on.
    """
    tokenizer = build_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width // 2,
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
    """Point the heads of a layer at the tokens one, one, two and three places back.

    The fastest rotations of the position embedding tell neighbours apart; a key is constant, the
    query is the same turned back by the wanted distance.
    """
    for matrix in (heads.q_proj, heads.k_proj):
        matrix.weight.normal_(0, 0.02)
    for head, distance in enumerate((1, 1, 2, 3)):
        for pair in range(4):
            angle = distance * theta ** (-2 * pair / HEAD)
            row = head * HEAD + pair
            heads.k_proj.weight[row, 0] = 0.7
            heads.q_proj.weight[row, 0] = 0.7 * math.cos(angle)
            heads.q_proj.weight[row + HEAD // 2, 0] = -0.7 * math.sin(angle)


def example(name: str, graph: SceneGraph, rng: np.random.Generator) -> Example:
    """The chat about `graph` under the prompt `name`, with the storyteller's answer."""
    tokenizer = build_tokenizer()
    told = tokenizer.encode(answer(name, graph, rng), add_special_tokens=False)
    return Example(_prompt(name, graph), [*told, tokenizer.eos_token_id])


def _prompt(name: str, graph: SceneGraph) -> list[int]:
    text = build_tokenizer().apply_chat_template(
        messages(name, graph), tokenize=False, add_generation_prompt=True
    )
    return list(build_tokenizer().encode(text, add_special_tokens=False))


def batch(step: int, size: int, seed: int) -> Batch:
    """`size` chats of about the same length; graphs grow with the steps."""
    rng = np.random.default_rng([seed, 31, step])
    grown = step > GROWN
    things = int(rng.uniform(0.8, 8 if grown else 2 + 9 * step / GROWN))
    limit = things + 4 if grown else max(1, things)
    names = [str(name) for name in rng.choice(TASKS, size, p=SHARES)]
    return collate([example(name, cut(random_graph(rng, things), limit), rng) for name in names])


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, score on graphs never seen, export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--export", type=Path, help="folder for the checkpoint")
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--graphs", type=int, default=200, help="graphs of the final scores")
    parser.add_argument("--export-only", action="store_true", help="score and export the state")
    options = parser.parse_args(arguments)
    one_thread()
    schedule = Schedule(
        steps=options.steps, batch_size=options.batch_size, lr=options.lr, warmup=50,
        weight_decay=0.01, seed=options.seed, minutes=options.minutes, bf16=False,
    )  # fmt: skip
    torch.manual_seed(schedule.seed)
    model = build()
    if not options.export_only:
        model = _train(model, schedule, options.out)
    progress = restore(model, options.out)
    reached = scores(model, build_tokenizer(), messages, options.graphs)
    print(json.dumps(reached, indent=2), flush=True)
    if options.export is not None:
        card: dict[str, Any] = {
            "commands": [
                "python -m training.recipes.picturebook.llm "
                f"--minutes {options.minutes:g} --seed {schedule.seed}"
            ],
            "seed": schedule.seed,
            "steps": progress.step,
            "minutes": round(progress.seconds / 60, 1),
            "machine": machine(),
            "scores": reached,
        }
        export_model(model, build_tokenizer(), options.export, card)


def _train(model: nn.Module, schedule: Schedule, out: Path) -> Any:
    """`fit` with graphs that grow with the time spent, as its log tells it."""

    def make(step: int) -> Batch:
        return batch(step, schedule.batch_size, schedule.seed)

    def evaluate(trained: nn.Module) -> dict[str, float]:
        return scores(trained, build_tokenizer(), messages, 12)

    return fit(
        model, make, loss, schedule, out,
        device="cpu", log_every=50, save_every=500, evaluate=evaluate, eval_every=1500,
    )  # fmt: skip


if __name__ == "__main__":
    main()
