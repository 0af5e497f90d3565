"""What keeps a child process no longer than its owner lives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from stages.chat import keeper
from stages.chat.vllm import KEEPER
from tests.stages.chat.fake_vllm import wait_until

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(600)
"""


def keep(log: Path, *command: str) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-I", str(KEEPER), str(log), *command]
    return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_a_command_that_ends_is_told_with_its_code_and_output(tmp_path: Path) -> None:
    with keep(tmp_path / "log", "sh", "-c", "echo said; exit 3") as started:
        assert started.wait() == 0, "what was started leaves at once"
        assert started.stdout is not None
        assert started.stdout.read() == b"3\n"
    assert (tmp_path / "log").read_text() == "said\n"


def test_a_command_that_can_not_be_run_is_no_silence(tmp_path: Path) -> None:
    line = [sys.executable, "-I", str(KEEPER), str(tmp_path / "log"), str(tmp_path / "absent")]
    done = subprocess.run(line, stdin=subprocess.PIPE, capture_output=True, text=True, timeout=60)
    assert done.stdout == "" and "absent" in done.stderr


def test_the_end_of_the_input_ends_the_command(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with keep(log, "sh", "-c", "echo up; sleep 600") as started:
        wait_until(lambda: log.exists() and log.read_text() == "up\n")
        out, _ = started.communicate()
    assert out == b""
    assert not log.exists()


def test_who_does_not_listen_is_made_to_end(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        keeper.stop(child, grace=0.1)
        assert child.returncode == -9
