"""vLLM as a server of our own, from an environment of its own.

The server lives as long as the worker that loaded the stage, in whatever way that one ends
(`keeper`). Only this machine can reach it, and only with a key that nobody else knows.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import select
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grand_pipeline import vllm_env, weights
from grand_pipeline.errors import WorkerError
from stages.chat.server import ServerEnded

KEEPER = Path(__file__).with_name("keeper.py")
_ERRORS, _LINES, _LINE = 4, 12, 400
_ERROR = re.compile(r"(?<![\w`'])[A-Z]\w*(?:Error|Exception): .*")
_WORD = 2.0
_JSON = {"backend": "xgrammar", "disable_any_whitespace": True}
"""Held to a schema, a model may write spaces for ever unless it is kept from them."""


@dataclass(frozen=True)
class Launch:
    """What to serve: the environment's folder, the model under its own name, the rest as vLLM
    takes it. `context_length` 0 is what the model declares; `patience` is in seconds."""

    folder: str
    model: str
    dtype: str
    context_length: int = 0
    arguments: Sequence[str] = ()
    patience: float = 1800.0

    def command(self, port: int) -> list[str]:
        """The command of the server; later arguments overrule earlier ones."""
        revision = weights.revision(self.model)
        length = self.context_length
        return [
            *(str(vllm_env.python(self.folder)), "-m", vllm_env.SERVER),
            *("--model", weights.resolve(self.model), "--served-model-name", self.model),
            *(("--revision", revision) if revision else ()),
            *("--host", "127.0.0.1", "--port", str(port), "--dtype", self.dtype),
            *(("--max-model-len", str(length)) if length else ()),
            *("--structured-outputs-config", json.dumps(_JSON)),
            "--disable-uvicorn-access-log",
            *self.arguments,
        ]


@dataclass(frozen=True, eq=False)
class Served:
    """A running server. It is stopped when this object goes, or the process that holds it."""

    url: str
    key: str = field(repr=False)
    log: Path
    keeper: subprocess.Popen[bytes] = field(repr=False)

    def ended(self, wait: float = 0.0) -> bool:
        """Whether the server has ended by itself, as known within `wait` seconds."""
        return self.keeper.stdout is None or bool(
            select.select([self.keeper.stdout], [], [], wait)[0]
        )

    def check(self) -> None:
        """Raises ServerEnded, with the end of its log, if the server has ended."""
        if self.ended(_WORD):
            raise ServerEnded(f"vLLM ended by itself. {self.story()}")

    def story(self) -> str:
        """The errors in the server's log, the first ones, and its last lines; and where it is.

        The last lines alone would not do: processes that end because another one has failed tell
        that at length.
        """
        lines = [line for line in _text(self.log).splitlines() if line.strip()]
        errors = dict.fromkeys(match.group() for match in map(_ERROR.search, lines) if match)
        said = [*list(errors)[:_ERRORS], f"The last lines of {self.log}:", *lines[-_LINES:]]
        return "\n".join(line[:_LINE] for line in said)


def serve(launch: Launch) -> Served:
    """Start the server and wait until it answers.

    Raises MissingDependencyError where there is no environment, WorkerError with the end of the
    server's log where it ends first or is not ready within `patience`.
    """
    port = _free_port()
    command = launch.command(port)
    key = secrets.token_urlsafe()
    environment = vllm_env.variables(launch.folder) | {"VLLM_API_KEY": key}
    descriptor, name = tempfile.mkstemp(prefix="grand-vllm-", suffix=".log")
    with open(descriptor, "wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-I", str(KEEPER), name, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
        )
    # What was started has left at once; the keeper is its child and holds the pipes.
    keeper.wait()
    served = Served(f"http://127.0.0.1:{port}/v1", key, Path(name), keeper)
    weakref.finalize(served, _stop, keeper)
    _await(served, launch.patience)
    return served


def _await(served: Served, patience: float) -> None:
    import httpx

    end = time.monotonic() + patience
    health = f"{served.url.removesuffix('/v1')}/health"
    # A proxy knows nothing of this machine's own addresses.
    with httpx.Client(trust_env=False, verify=False, timeout=5.0) as client:
        while not served.ended():
            with contextlib.suppress(httpx.HTTPError):
                if client.get(health).is_success:
                    return
            if time.monotonic() > end:
                raise WorkerError(
                    f"vLLM was not ready within {patience:g} s (option vllm_patience). "
                    f"{served.story()}"
                )
            time.sleep(0.2)
    raise WorkerError(
        f"vLLM ended before it was ready; `grand doctor --vllm` looks at its environment. "
        f"{served.story()}"
    )


def _stop(keeper: subprocess.Popen[bytes]) -> None:
    """Let the keeper stop the server, and wait until it has: the next model needs the memory."""
    if keeper.stdin is None or keeper.stdout is None:
        return
    keeper.stdin.close()
    keeper.stdout.read()
    keeper.stdout.close()


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def _text(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 2**16))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
