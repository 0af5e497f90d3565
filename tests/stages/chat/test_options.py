"""A stage's options become a model, in this process or behind a server."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.llm_server import MODEL, FakeServer, Reply, completion, failure
from grand_pipeline import settings
from grand_pipeline.columns import CONTEXT, SCENE_GRAPH, UNUSABLE
from grand_pipeline.errors import SettingsError
from grand_pipeline.generation import Generation
from grand_pipeline.settings import Preset
from grand_pipeline.stage import Failed
from stages import chat
from stages.chat import options, serving
from stages.chat.retry import Backoff
from stages.level4.context import Context
from tests.records import record_of


def stage(server: FakeServer | None = None, **more: Any) -> Context:
    address = {"endpoint": server.url} if server else {}
    given: dict[str, Any] = {"model": MODEL, "prompt": "context/picturebook", "retries": 0}
    return Context(**(given | address | more))


def test_a_server_says_how_long_its_context_is_and_counts() -> None:
    with FakeServer(context_length=777) as server:
        live = options.connect(serving.server(stage(server)))
        assert (live.context_length, live.counts) == (777, True)
        assert (
            options.connect(serving.server(stage(server)), context_length=99).context_length == 99
        )
        server.tokenize = False
        assert not options.connect(serving.server(stage(server))).counts


def test_options_reach_the_server() -> None:
    given = serving.server(
        Context(
            model="m",
            endpoint="http://host:1/v1/",
            api_key_env="KEY",
            extra_body='{"top_k": 3}',
            concurrency=0,
            timeout=9.0,
            retries=2,
        ),
        {"KEY": "secret"},
    )
    assert (given.url, given.model, given.key) == ("http://host:1/v1", "m", "secret")
    assert (given.extra, given.concurrency, given.timeout) == ({"top_k": 3}, 1, 9.0)
    assert given.backoff == Backoff(2)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"api_key_env": "NO_SUCH_KEY"}, "environment variable 'NO_SUCH_KEY'"),
        ({"extra_body": "{"}, "extra_body is not JSON"),
        ({"extra_body": "[1]"}, r"must be a JSON object, not \[1\]"),
        ({"model": "fkae"}, "knows no model 'fkae'.* Did you mean 'fake'"),
        ({"prompt": "context/nothing"}, "no prompt is called 'context/nothing'"),
    ],
)
def test_wrong_options_are_explained_at_once(more: dict[str, Any], said: str) -> None:
    with FakeServer() as server, pytest.raises(SettingsError, match=said):
        stage(server, **more).load("cpu")


def test_a_server_without_length_needs_the_option() -> None:
    with FakeServer(context_length=None) as server:
        with pytest.raises(SettingsError, match="set the option context_length"):
            stage(server).load("cpu")
        assert stage(server, context_length=50).load("cpu").context_length == 50


def test_a_server_that_is_not_there_is_a_user_s_mistake() -> None:
    with FakeServer() as server:
        pass
    with pytest.raises(
        SettingsError, match=r"gives no list of models: ConnectError.*Start the server"
    ):
        stage(server).load("cpu")


def test_where_a_model_runs_is_not_what_it_is() -> None:
    one, two = stage(endpoint="http://a/v1"), stage(endpoint="http://b/v1", concurrency=5)
    assert one.options() == two.options()
    assert (one.models, stage().models) == ((), (MODEL,))
    assert stage(endpoint="http://a/v1", tokenizer="some/hub").models == ("tokenizer:some/hub",)
    assert stage(temperature=0.1).options() != stage().options()


def test_options_stay_flat_in_tables() -> None:
    table = {"model": "m", "endpoint": "http://h/v1", "attempts": 2, "accept": ["stop", "length"]}
    (built,) = settings.stages(Preset("p", "", {"context": table}))
    assert isinstance(built, Context)
    assert (built.endpoint, built.attempts, built.accept) == ("http://h/v1", 2, ("stop", "length"))
    with pytest.raises(SettingsError, match="Did you mean 'endpoint'"):
        settings.stages(Preset("p", "", {"context": {"endpont": "x"}}))


def test_an_unusable_answer_is_a_failure_that_keeps_it_whole() -> None:
    told = Generation("p", "Fine.", "m", "stop")
    kept = UNUSABLE.of("context")
    assert chat.row(stage(), "context", CONTEXT, told) == {CONTEXT: told, kept: None}
    bad = Generation("p", "Sorry, no.", "m", "refused", 2, ("empty", "refused"))
    found = chat.row(stage(), "context", CONTEXT, bad)
    assert found == Failed(
        "the language model gave no usable answer: refused after empty, refused. "
        "Its answer: Sorry, no.",
        {kept: bad},
    )
    assert chat.row(stage(accept=("refused",)), "context", CONTEXT, bad) == {
        CONTEXT: bad,
        kept: None,
    }
    long = Generation("p", "la " * 9999, "m", "repeated")
    found = chat.row(stage(), "context", CONTEXT, long)
    assert isinstance(found, Failed)
    assert found.kept == {kept: long}
    assert len(found.reason) < 2000
    assert found.reason.endswith("... (whole in 'unusable.context')")


def test_bad_answers_become_error_rows_and_good_neighbours_are_asked_once() -> None:
    def rule(asked: Any, times: int) -> Reply:
        graph = asked["messages"][-1]["content"]
        if graph == "broken":
            return failure(500, "out of luck")
        return completion("Sorry, no." if graph == "rude" else "A dog is an animal.")

    graphs = ("dog", "rude", "broken", "cat", "bird")
    with FakeServer(rule) as server:
        described = stage(server, attempts=2)
        live = described.load("cpu")
        records = [record_of({SCENE_GRAPH: graph}) for graph in graphs]
        results = described.annotate(live, records)
        asked = [body["messages"][-1]["content"] for body in server.asked]
    good, rude, broken, *others = results
    assert isinstance(rude, Failed) and isinstance(broken, Failed)
    assert "refused after refused. Its answer: Sorry, no." in rude.reason
    assert "HTTP 500 (out of luck)" in broken.reason
    assert not any(isinstance(found, Failed) for found in (good, *others))
    assert not isinstance(good, Failed) and good[CONTEXT].answer == "A dog is an animal."
    assert {graph: asked.count(graph) for graph in graphs} == {
        "dog": 1,
        "rude": 2,
        "broken": 1,
        "cat": 1,
        "bird": 1,
    }
