"""vLLM as a server of our own: started, asked, and gone in whatever way its owner goes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from grand_pipeline import settings
from grand_pipeline.errors import MissingDependencyError, SettingsError, WorkerError
from grand_pipeline.settings import Preset
from stages import chat
from stages.chat import options, vllm
from stages.chat.vllm import Launch, Served
from stages.level4.context import Context
from tests.stages.chat.fake_vllm import alive, environment, wait_until
from tests.tiny.chats import bare_llama, llama
from tests.tiny.checkpoints import checkpoint

QUESTION: list[dict[str, str]] = [{"role": "user", "content": "two words"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return environment(tmp_path / "env")


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    return tmp_path / "pids"


def launch(folder: Path, pids: Path, *more: str, **options: Any) -> Launch:
    arguments = ("--fake-pids", str(pids), *more)
    return Launch(str(folder), "m", "float32", arguments=arguments, **options)


def asked(served: Served, text: str) -> list[chat.Answer]:
    server = chat.Server(served.url, "m", served.key, process=served)
    return chat.EndpointChat(server, 100).complete([[{"role": "user", "content": text}]], 5)


def test_a_server_answers_and_is_gone_with_its_owner(folder: Path, pids: Path) -> None:
    served = vllm.serve(launch(folder, pids))
    assert asked(served, "a b") == [chat.Answer("a b", "stop")]
    served.check()
    log = served.log
    assert log.exists() and len(alive(pids)) == 2
    del served
    assert alive(pids) == []
    assert not log.exists()


def test_a_server_outlives_no_killed_owner(folder: Path, pids: Path) -> None:
    code = (
        "import sys, time; from stages.chat import vllm\n"
        f"served = vllm.serve(vllm.Launch({str(folder)!r}, 'm', 'float32', "
        f"arguments=('--fake-pids', {str(pids)!r})))\n"
        "print(served.log, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        log = Path(owner.stdout.readline().strip())
        assert log.exists() and len(alive(pids)) == 2
        owner.send_signal(signal.SIGKILL)
    wait_until(lambda: not alive(pids) and not log.exists())


def test_a_server_that_can_not_start_says_why(folder: Path, pids: Path) -> None:
    with pytest.raises(WorkerError, match=r"(?s)before it was ready.*\.log:.*arguments.*no room"):
        vllm.serve(launch(folder, pids, "--fake-failure", "CUDA: no room"))
    assert alive(pids) == []


def test_a_server_that_takes_too_long_is_stopped(folder: Path, pids: Path) -> None:
    with pytest.raises(WorkerError, match=r"not ready within 1 s \(option vllm_patience\)"):
        vllm.serve(launch(folder, pids, "--fake-seconds", "600", patience=1.0))
    wait_until(lambda: not pids.exists() or not alive(pids))


def test_a_server_that_dies_takes_its_worker_with_it(folder: Path, pids: Path) -> None:
    served = vllm.serve(launch(folder, pids))
    told = r"(?s)ended by itself\. RuntimeError: the engine is gone\nThe last lines of .*arguments:"
    with pytest.raises(SystemExit, match=told):
        asked(served, "please die")
    wait_until(lambda: not alive(pids))


def test_a_folder_without_environment_is_named(tmp_path: Path, pids: Path) -> None:
    with pytest.raises(MissingDependencyError, match="grand models vllm-env"):
        vllm.serve(launch(tmp_path / "absent", pids))


def test_the_command_says_all_there_is_to_say(folder: Path) -> None:
    more = ("--dtype", "half")
    line = Launch(str(folder), "org/m@abc", "bfloat16", 99, more).command(7)
    assert line[:3] == [str(folder / "bin/python"), "-m", "vllm.entrypoints.openai.api_server"]
    pairs = " ".join(line)
    for part in (
        "--model org/m --served-model-name org/m@abc --revision abc",
        "--host 127.0.0.1 --port 7 --dtype bfloat16 --max-model-len 99",
        '"disable_any_whitespace": true',
    ):
        assert part in pairs
    assert line[-2:] == list(more)
    plain = Launch(str(folder), "org/m", "float32").command(7)
    assert not {"--revision", "--max-model-len"} & set(plain)


def stage(folder: Path, pids: Path, model: str, **more: Any) -> Context:
    tuning = ("--fake-pids", str(pids))
    return Context(model=model, vllm=str(folder), vllm_tuning=tuning, **more)


def test_a_stage_gets_its_model_with_the_model_s_own_tokenizer(folder: Path, pids: Path) -> None:
    model = checkpoint(llama)
    described = stage(folder, pids, model, context_length=321, extra_body='{"top_k": 1}')
    live = described.load("cpu")
    assert isinstance(live, chat.EndpointChat)
    assert live.context_length == 321
    assert live.prompt(QUESTION) == "<user>two words<assistant>"
    assert live.size(QUESTION, 0) == len("<user>two words<assistant>")
    assert live.complete([QUESTION], 5) == [chat.Answer("two words", "stop")]
    sent = live.body(chat.Request(QUESTION, 5))
    assert sent["model"] == model
    assert (sent["chat_template_kwargs"], sent["top_k"]) == ({"enable_thinking": False}, 1)
    assert not live.server.client().trust_env
    assert chat.served(described)
    del live
    assert alive(pids) == []


def test_a_model_without_template_is_given_ours(folder: Path, pids: Path) -> None:
    live = options.started(stage(folder, pids, checkpoint(bare_llama)))
    process = live.server.process
    assert isinstance(process, Served)
    assert "--chat-template" in process.log.read_text()


def test_where_a_model_runs_is_not_what_it_is(folder: Path, pids: Path) -> None:
    here, there = Context(model="m"), stage(folder, pids, "m", vllm_patience=9.0)
    assert (here.options(), here.models) == (there.options(), there.models)
    assert stage(folder, pids, "m", vllm_args=("--quantization", "fp8")).options() != here.options()


def test_two_servers_at_once_are_a_mistake() -> None:
    table = {"dense_caption": {"endpoint": "http://h/v1", "vllm": "/env"}}
    with pytest.raises(SettingsError, match=r"'dense_caption': the options vllm .* exclude"):
        settings.stages(Preset("p", "", table))
