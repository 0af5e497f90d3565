"""An environment with a vLLM that is none: a script in the place of its Python.

It serves what the client asks of vLLM, has a child as vLLM has its engine, and is slow to start,
fails or dies when told to, by arguments that vLLM does not have.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSION = "0.0.fake"


def environment(folder: Path) -> Path:
    """Make the environment in a folder, which is returned."""
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text("")
    script = folder / "bin" / "python"
    script.write_text(f"#!{sys.executable} -I\n{Path(__file__).read_text('utf-8')}")
    script.chmod(0o755)
    return folder


def alive(pids: Path) -> list[int]:
    """Which of the processes that `--fake-pids` noted are still there."""
    noted = [int(line) for line in pids.read_text().split()]
    return [pid for pid in noted if _runs(pid)]


def wait_until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Return as soon as it is true; fail where it is not in time."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be buried."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class Handler(BaseHTTPRequestHandler):
    """Answers with the last turn, or `--fake-answer`.

    A turn of which `die` is a word ends the server, and so does the first one at all if
    `--fake-once` names a file that is not there yet.
    """

    given: argparse.Namespace

    def do_GET(self) -> None:
        if self.path == "/health":
            self._send({})
        else:
            length = self.given.max_model_len or 4096
            self._send({"data": [{"id": self.given.served_model_name, "max_model_len": length}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = asked["messages"][-1]["content"]
        if not isinstance(text, str):
            text = "".join(part.get("text", "") for part in text)
        if self.headers.get("Authorization") != f"Bearer {os.environ['VLLM_API_KEY']}":
            self._send({"error": {"message": "wrong key"}}, 401)
            return
        once = Path(self.given.fake_once)
        if "die" in text.split() or not once.exists():
            once.touch()
            print("RuntimeError: the engine is gone", flush=True)
            os._exit(7)
        choice = {"message": {"content": self.given.fake_answer or text}, "finish_reason": "stop"}
        self._send({"choices": [choice], "asked": asked})

    def _send(self, given: object, status: int = 200) -> None:
        body = json.dumps(given).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    if sys.argv[1] == "-c":
        print(f"version {VERSION}")
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--served-model-name")
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--fake-pids", default=os.devnull)
    parser.add_argument("--fake-seconds", type=float, default=0.0)
    parser.add_argument("--fake-failure", default="")
    parser.add_argument("--fake-once", default=os.devnull)
    parser.add_argument("--fake-answer", default="")
    given, rest = parser.parse_known_args()
    print("arguments:", *rest, flush=True)
    engine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with Path(given.fake_pids).open("a") as file:
        file.write(f"{os.getpid()}\n{engine.pid}\n")
    signal.signal(signal.SIGTERM, signal.SIG_IGN if given.fake_seconds < 0 else signal.SIG_DFL)
    time.sleep(max(0.0, given.fake_seconds))
    if given.fake_failure:
        raise SystemExit(given.fake_failure)
    Handler.given = given
    with ThreadingHTTPServer(("127.0.0.1", given.port), Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
