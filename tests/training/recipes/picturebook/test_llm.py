from __future__ import annotations

import numpy as np
import pytest
import torch

from grand_pipeline.graph import SceneGraph
from training.recipes.picturebook import llm
from training.recipes.picturebook.graphs import MOST_IDS, random_graph
from training.recipes.picturebook.llm_scores import scores


def test_answers_survive_the_tokenizer_and_ids_are_single_tokens() -> None:
    tokenizer = llm.build_tokenizer()
    rng = np.random.default_rng(3)
    for things in range(8):
        graph = random_graph(rng, things)
        for text in (graph.text(), llm.answer(llm.DENSE, graph), "Überraschung [99] <p>\n"):
            assert tokenizer.decode(tokenizer.encode(text)) == text
    ids = [tokenizer.encode(f"[{number}]") for number in range(40)]
    assert all(len(tokens) == 1 for tokens in ids)
    assert ids[3][0] in tokenizer.encode("Foreground:\n- group 0: [3] dog (red); [4] sky")


def test_only_answers_are_learned_and_they_end() -> None:
    data = llm.batch(5, 6, 0)
    tokenizer = llm.build_tokenizer()
    for tokens, labels in zip(data.tokens, data.labels, strict=True):
        learned = labels != llm.IGNORED
        assert torch.equal(tokens[learned], labels[learned])
        first = int(learned.nonzero()[0])
        assert tokenizer.decode(tokens[first - 1]) == llm.ASSISTANT
        assert tokens[learned][-1] == tokenizer.eos_token_id
        assert not learned[:first].any()


def test_a_step_has_the_same_batch_whenever_it_is_asked_for() -> None:
    first = llm.batch(7, 4, 0)
    llm.batch(8, 4, 0)
    assert torch.equal(first.tokens, llm.batch(7, 4, 0).tokens)
    assert not torch.equal(first.tokens, llm.batch(7, 4, 1).tokens)


def test_random_graphs_have_the_asked_size_and_hold_what_they_name() -> None:
    rng = np.random.default_rng(1)
    graphs = [random_graph(rng, count) for count in range(1, 15) for _ in range(8)]
    entries = [
        [
            entry
            for groups in graph.layers().values()
            for group in groups.values()
            for entry in group
        ]
        for graph in graphs
    ]
    assert {len(graph.nodes) for graph in graphs} >= set(range(1, 15))
    for graph in graphs:
        ids = {node.object_id for node in graph.nodes}
        assert all({r.subject, r.object} <= ids and r.subject != r.object for r in graph.relations)
        assert len(ids) == len(graph.nodes) and max(ids, default=0) < MOST_IDS
    assert max(len(entry.ids) for listed in entries for entry in listed) > 1
    assert max(len(entry.links) for listed in entries for entry in listed) > 3
    assert any(graph.counted for graph in graphs)


def test_the_first_layer_looks_back_from_the_start() -> None:
    torch.manual_seed(0)
    model = llm.build()
    model.set_attn_implementation("eager")
    tokens = llm.batch(4000, 1, 0).tokens
    with torch.no_grad():
        seen = model(input_ids=tokens, output_attentions=True).attentions[0][0]
    for head, distance in enumerate(llm.LOOK_BACK):
        assert float(torch.diagonal(seen[head], -distance).mean()) > 0.7


def test_loss_falls_on_one_batch() -> None:
    torch.manual_seed(0)
    model, data = llm.build(), llm.batch(0, 4, 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(8):
        terms = llm.loss(model, data)
        optimizer.zero_grad()
        torch.autograd.backward(terms["loss"])
        optimizer.step()
        losses.append(float(terms["loss"].detach()))
    assert losses[-1] < 0.5 * losses[0]


class Perfect(torch.nn.Module):
    """Answers every prompt as the storyteller would, by looking the prompt up."""

    def __init__(self, graphs: list[SceneGraph], spoil: str = "") -> None:
        super().__init__()
        tokenizer = llm.build_tokenizer()
        self.said: dict[str, str] = {}
        for graph in graphs:
            for name in llm.TASKS:
                text = llm.answer(name, graph)
                prompt = tokenizer.apply_chat_template(
                    llm.messages(name, graph), tokenize=False, add_generation_prompt=True
                )
                self.said[prompt] = spoil or text

    def generate(self, input_ids: torch.Tensor, **options: object) -> torch.Tensor:
        tokenizer = llm.build_tokenizer()
        rows = []
        for row in input_ids:
            asked = tokenizer.decode(row[row != tokenizer.pad_token_id])
            rows.append(torch.tensor(tokenizer.encode(self.said[asked] + llm.END)))
        new = torch.nn.utils.rnn.pad_sequence(
            rows, batch_first=True, padding_value=float(tokenizer.pad_token_id)
        )
        return torch.cat([input_ids, new], dim=1)


@pytest.mark.parametrize(
    ("spoil", "best"), [("", 1.0), ("We see <p>a cat</p>[91] on <p>the sky</p>[92].", 0.0)]
)
def test_scores_of_a_perfect_and_of_a_wrong_model(spoil: str, best: float) -> None:
    rng = np.random.default_rng(9_000)
    graphs = [random_graph(rng, 5 + int(rng.integers(8))) for _ in range(4)]
    reached = scores(Perfect(graphs, spoil), llm.build_tokenizer(), llm.messages, 4)
    for name in ("mentions", "links", "linked", "recall", "dense", "context"):
        assert reached[name] == best
    assert reached["stopped"] == 1.0
