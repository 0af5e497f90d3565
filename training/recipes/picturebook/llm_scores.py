"""How well the language model keeps to its graph: greedy answers to graphs never trained on."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from grand_pipeline.graph import SceneGraph
from grand_pipeline.labels import plural
from grand_pipeline.picturebook.lexicon import NUMBERS
from grand_pipeline.picturebook.storyteller import context, dense_caption
from grand_pipeline.picturebook.vocabulary import STUFF, THINGS
from training.recipes.picturebook.graphs import random_graph

EVAL_SEED = 9_000
MAX_NEW_TOKENS = 400
_MENTION = re.compile(r"<p>(\w+) ([^<]*)</p>((?:\[\d+\])+)")
_LINK = re.compile(r"([a-z ]+) <p>(?:the|another) [^<]*</p>\[(\d+)\]")
_NAMES = {**{thing.plural: name for name, thing in THINGS.items()}, **{n: n for n in THINGS}}
_NAMES |= {name: name for name in STUFF}
_WORDS = re.compile(rf"\b({'|'.join(sorted(map(re.escape, _NAMES), key=len, reverse=True))})\b")

_NUMBERS = {word: number for number, word in NUMBERS.items()}
Link = tuple[int, str, int]  # subject, predicate, object
Messages = Callable[[str, SceneGraph], Sequence[dict[str, str]]]


def scores(model: nn.Module, tokenizer: Any, messages: Messages, count: int) -> dict[str, float]:
    """Shares over `count` graphs of 5 to 12 objects.

    no_invented_class: dense captions that name no class the graph does not hold; mentions:
    mentions whose class, colour and number are those of their ids; links: relations said that
    the graph holds; linked: relations of the graph that are said; recall: objects mentioned;
    stopped: dense captions that end by themselves; dense, context: answers equal, word for word,
    to what the storyteller says.
    """
    rng = np.random.default_rng(EVAL_SEED)
    graphs = [random_graph(rng, 5 + int(rng.integers(8))) for _ in range(count)]
    dense = _answers(model, tokenizer, [messages("dense_caption/picturebook", g) for g in graphs])
    told = _answers(model, tokenizer, [messages("context/picturebook", g) for g in graphs])
    pairs = [(text, graph) for (text, _), graph in zip(dense, graphs, strict=True)]
    return {
        "no_invented_class": _mean([named(text) <= labels(g) for text, g in pairs]),
        "mentions": _mean([ok for text, g in pairs for ok in mentions(text, g)]),
        "links": _mean([link in held(g) for text, g in pairs for link in links(text)]),
        "linked": _mean([link in links(text) for text, g in pairs for link in held(g)]),
        "recall": _mean([n.object_id in said(text) for text, g in pairs for n in g.nodes]),
        "stopped": _mean([ended for _, ended in dense]),
        "dense": _mean([text == dense_caption(g) for text, g in pairs]),
        "context": _mean([t == context(g) for (t, _), g in zip(told, graphs, strict=True)]),
    }


def named(text: str) -> set[str]:
    """Classes of the world that a text names."""
    return {_NAMES[word] for word in _WORDS.findall(text)}


def labels(graph: SceneGraph) -> set[str]:
    """Classes of the world that the labels of a graph name."""
    return set().union(*(named(node.label) for node in graph.nodes))


def mentions(text: str, graph: SceneGraph) -> list[bool]:
    """For each mention: whether every id has its class, its colour if one is said, and whether
    the number said is that of the ids."""
    nodes = {node.object_id: node for node in graph.nodes}
    marks = []
    for lead, words, refs in _MENTION.findall(text):
        ids = [int(number) for number in re.findall(r"\d+", refs)]
        known = [nodes[number] for number in ids if number in nodes]
        fits = [_fits(words, n.label, n.attribute, many=len(ids) > 1) for n in known]
        number = _NUMBERS.get(lead, int(lead) if lead.isdecimal() else 1)
        marks.append(len(known) == len(ids) == number and all(fits))
    return marks


def _fits(words: str, label: str, attribute: str, *, many: bool) -> bool:
    name = plural(label) if many else label
    return words in (name, f"{attribute} {name}")


def links(text: str) -> set[Link]:
    """The relations said: of the first mention of an entry, one for each of its ids."""
    found: set[Link] = set()
    for entry in re.split(r"; |\. ", text):
        subject = _MENTION.search(entry)
        if subject is None:
            continue
        ids = [int(number) for number in re.findall(r"\d+", subject[3])]
        ends = _LINK.findall(entry[subject.end() :])
        found |= {(one, said.strip(), int(other)) for said, other in ends for one in ids}
    return found


def held(graph: SceneGraph) -> set[Link]:
    """The relations of a graph."""
    return {(r.subject, r.predicate, r.object) for r in graph.relations}


def said(text: str) -> set[int]:
    """Ids that a text mentions."""
    return {int(n) for _, _, refs in _MENTION.findall(text) for n in re.findall(r"\d+", refs)}


def _mean(marks: Sequence[bool]) -> float:
    return round(float(np.mean(marks)), 4) if marks else 1.0


@torch.no_grad()
def _answers(
    model: Any, tokenizer: Any, chats: Sequence[Sequence[dict[str, str]]], size: int = 40
) -> list[tuple[str, bool]]:
    """Greedy answers, and whether they ended by themselves."""
    found: list[tuple[str, bool]] = []
    for start in range(0, len(chats), size):
        texts = [
            tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            for chat in chats[start : start + size]
        ]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        out = model.generate(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"],
            max_new_tokens=MAX_NEW_TOKENS, do_sample=False,
        )  # fmt: skip
        new = out[:, inputs["input_ids"].shape[1] :]
        for row in new:
            text = tokenizer.decode(row, skip_special_tokens=True)
            found.append((text, bool((row == tokenizer.eos_token_id).any())))
    return found
