"""Real servers, each in an environment of its own, named by a variable:

    GRAND_SERVE_ENV=DIR pytest -m server tests/stages/chat    # pip install 'transformers[serving]'
    GRAND_VLLM_ENV=DIR pytest -m vllm tests/stages/chat       # grand models vllm-env DIR --cpu

An environment made for vLLM can be both, once `accelerate` is installed there.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from grand_pipeline import structured
from prompts import Message
from stages import chat
from stages.chat import options
from stages.level4.context import Context
from tests.tiny.chats import llama, wide_llama, wide_llm
from tests.tiny.checkpoints import checkpoint

SECONDS = 600.0
QUESTIONS = ("a", "What is there?", "There is a red ball on the green grass. " * 4)
GRAPHS = (
    "1. a red ball at the left; small\n2. a green tree at the right; large",
    "1. a brown dog in the middle\n2. a blue car behind 1\n3. a house at the left",
    "1. a yellow duck at the left",
)
PLAIN: dict[str, Any] = {
    "type": "object",
    "properties": {
        "indoors": {"type": "boolean"},
        "kinds": {"type": "array", "items": {"enum": ["car", "dog"]}, "minItems": 1, "maxItems": 3},
    },
    "required": ["indoors", "kinds"],
    "additionalProperties": False,
}
"""A schema that any model comes to the end of: nothing in it can be long."""


def folder(variable: str) -> Path:
    named = os.environ.get(variable, "")
    if not (Path(named) / "bin" / "python").is_file():
        pytest.skip(f"{variable} names no environment; see {Path(__file__).name}")
    return Path(named)


def turn(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """`transformers serve` for the tiny Llama."""
    environment = folder("GRAND_SERVE_ENV")
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    command = [str(environment / "bin" / "transformers"), "serve", checkpoint(llama)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "HF_HUB_OFFLINE": "1"}
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}/health", tmp_path / "log")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + SECONDS
    while True:
        assert process.poll() is None and time.monotonic() < end, log.read_text()[-2000:]
        try:
            if httpx.get(url, timeout=5.0, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.5)


@pytest.mark.server
@pytest.mark.timeout(2 * SECONDS)
def test_transformers_serve_says_what_the_model_says_here(address: str) -> None:
    model = checkpoint(llama)
    stage = Context(model=model, endpoint=address, tokenizer=model, context_length=2048)
    live = stage.load("cpu")
    asked = [turn(text) for text in QUESTIONS]
    answers = live.complete(asked, 8)
    assert [answer.finish_reason for answer in answers] == ["length"] * 3
    assert answers == chat.load(model, "cpu").complete(asked, 8)


def started(build: Any, *tuning: str) -> chat.EndpointChat:
    """A model behind a vLLM of our own."""
    environment = folder("GRAND_VLLM_ENV")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    stage = Context(
        model=checkpoint(build),
        vllm=str(environment),
        vllm_tuning=("--enforce-eager", *tuning),
        vllm_patience=SECONDS,
    )
    return options.started(stage)


@pytest.mark.vllm
@pytest.mark.timeout(2 * SECONDS)
def test_vllm_says_what_the_model_says_here() -> None:
    live, here = started(wide_llm), chat.load("embedded:llm", "cpu")
    assert live.context_length == here.context_length == 1024
    asked = [turn(text) for text in GRAPHS]
    assert [live.size(one, 0) for one in asked] == [here.size(one, 0) for one in asked]
    answers = live.complete(asked, 60)
    assert answers == here.complete(asked, 60)
    assert all(answer.text for answer in answers)
    hot = chat.Decoding(1.0, 5)
    assert live.complete(asked, 20, hot) == live.complete(asked, 20, hot)
    (long,) = live.complete([turn("a red ball " * 2000)], 5)
    assert long.text == "" and long.finish_reason.startswith("HTTP 400 (")


@pytest.mark.vllm
@pytest.mark.timeout(2 * SECONDS)
def test_vllm_holds_random_weights_to_a_schema() -> None:
    live = started(wide_llama, "--load-format", "dummy")
    asked = [turn(text) for text in QUESTIONS]
    plain = live.complete(asked, 200, chat.Decoding(schema=json.dumps(PLAIN)))
    assert [answer.finish_reason for answer in plain] == ["stop"] * 3
    for answer in plain:
        found = json.loads(answer.text)
        assert set(found) == {"indoors", "kinds"} and set(found["kinds"]) <= {"car", "dog"}
        assert answer.text.split() == answer.text.replace(", ", ",").replace(": ", ":").split()
    # Captions can be of any length, so random weights may not come to an end; what there is of
    # one is the beginning of the JSON asked for.
    for answer in live.complete(asked, 300, chat.Decoding(schema=structured.SCHEMA)):
        assert answer.text.replace(" ", "").startswith('{"caption":"')
        assert answer.finish_reason == "length" or structured.parse(answer.text) is not None
