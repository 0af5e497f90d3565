"""What works on this machine and what does not, with the remedy.

Every check answers within a second or two, but that of a vLLM, which has to be asked for: versions
and free space are looked up, torch is asked for its devices in a process of its own, and Ray is
not started.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from grand_pipeline import memory, vllm_env, weights

PYTHON = (3, 11)
DISK_GB = 5.0
MEMORY_GB = 4.0
SHARED_MEMORY_GB = 0.25

_PRESETS = Path(__file__).parent / "presets"

_TORCH_PROBE = """
import importlib.util, torch
print(torch.__version__)
print(torch.cuda.is_available() and torch.cuda.get_device_name(0) or "")
if importlib.util.find_spec("torchvision"):
    import torchvision
"""

_OPTIONAL = (
    ("pillow-heif", "HEIC images", "pip install 'grand-pipeline[heic]'"),
    ("s3fs", "images on s3://", "pip install 'grand-pipeline[s3]'"),
    (
        "segment-anything",
        ".pth checkpoints of SAM",
        "pip install 'grand-pipeline[segment-anything]'",
    ),
)


@dataclass(frozen=True)
class Check:
    """One answer. `ok` is False only where something asked of this machine will fail."""

    name: str
    ok: bool
    detail: str
    remedy: str | None = None


def checks(folder: Path | str = ".", vllm: Path | None = None) -> list[Check]:
    """All checks; `folder` is where runs will be written, `vllm` an environment to look at too,
    which takes longer. Never raises."""
    return [
        _python(),
        *_torch(),
        _installed("transformers", "pip install -e ."),
        _ray(),
        _memory(),
        _disk(Path(folder)),
        _checkpoints(weights.EMBEDDED, _wanted()),
        _spacy(weights.EMBEDDED / "spacy"),
        *(_optional(*extra) for extra in _OPTIONAL),
        *((_vllm(vllm),) if vllm else ()),
    ]


def text(found: list[Check]) -> str:
    """The answers as lines; remedies stand below them, whole, to be copied."""
    width = max(len(check.name) for check in found)
    lines: list[str] = []
    for check in found:
        lines.append(f"{'ok' if check.ok else 'NO'}  {check.name:<{width}}  {check.detail}")
        if check.remedy:
            lines.append(f"    {'':<{width}}  -> {check.remedy}")
    return "\n".join(lines)


def _python() -> Check:
    wanted = ".".join(map(str, PYTHON))
    fits = sys.version_info[:2] >= PYTHON
    return Check("python", fits, platform.python_version(), _unless(fits, f"install >= {wanted}"))


def _torch(timeout: float = 30.0) -> Iterator[Check]:
    """torch in a process of its own: a mismatched torchvision takes the whole process down."""
    found = _installed("torch", "pip install -e .")
    if not found.ok:
        yield found
        return
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TORCH_PROBE], capture_output=True, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        yield Check(
            "torch", False, f"did not import in {timeout:g} s", "is the machine overloaded?"
        )
        return
    version, device, *_ = [*done.stdout.splitlines(), "", ""]
    reason = (done.stderr.strip().splitlines() or ["unknown"])[-1]
    yield Check(
        "torch", bool(version), version or reason, _unless(bool(version), "pip install -e .")
    )
    yield Check("gpu", True, device or "none: the CPU is used")
    if _version("torchvision"):
        fits = done.returncode == 0
        detail = f"{_version('torchvision')} (not needed)" if fits else reason
        remedy = "not needed and of another build than torch: pip uninstall torchvision"
        yield Check("torchvision", fits, detail, _unless(fits, remedy))


def _ray() -> Check:
    found = _installed("ray", "pip install -e .")
    free = _free_gb(Path("/dev/shm")) if Path("/dev/shm").is_dir() else None
    if not found.ok or free is None or free >= SHARED_MEMORY_GB:
        return found
    detail = f"{found.detail}, but /dev/shm has only {free:.2f} GB free"
    return Check("ray", False, detail, "give the container more shared memory (--shm-size=1g)")


def _memory() -> Check:
    total = memory.machine() / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    fits = total >= MEMORY_GB
    remedy = _unless(fits, f"{MEMORY_GB:g} GB are needed for the embedded models")
    return Check("memory", fits, f"{total:.1f} GB, {cores} CPU cores", remedy)


def _disk(folder: Path) -> Check:
    existing = next(
        path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir()
    )
    free = _free_gb(existing)
    detail = f"{free:.1f} GB free in {existing}"
    if not os.access(existing, os.W_OK):
        return Check("disk", False, f"{existing} is not writable", "give --out another folder")
    fits = free >= DISK_GB
    return Check("disk", fits, detail, _unless(fits, f"free {DISK_GB:g} GB or give another --out"))


def _wanted() -> set[str]:
    """Names of the embedded checkpoints that the packaged presets speak of."""
    texts = (path.read_text("utf-8") for path in _PRESETS.glob("*.toml"))
    return {name for text in texts for name in re.findall(r'"embedded:([\w-]+)"', text)}


def _checkpoints(root: Path, wanted: Collection[str]) -> Check:
    """The embedded checkpoints: all there, each with a readable description and weights."""
    folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    broken = [folder.name for folder in folders if not _complete(folder)]
    missing = sorted(set(wanted) - {folder.name for folder in folders})
    size = sum(p.stat().st_size for f in folders for p in f.rglob("*") if p.is_file()) / 1e6
    remedy = "install the package again; the preset 'picturebook' needs them"
    if not folders:
        return Check("checkpoints", False, f"none in {root}", remedy)
    if broken or missing:
        lists = (("incomplete", broken), ("missing", missing))
        detail = "; ".join(f"{what}: {', '.join(names)}" for what, names in lists if names)
        return Check("checkpoints", False, detail, remedy)
    names = ", ".join(folder.name for folder in folders)
    return Check("checkpoints", True, f"{names} ({size:.1f} MB)")


def _complete(folder: Path) -> bool:
    if (folder / "meta.json").is_file():  # A spaCy pipeline.
        return True
    files = list(folder.glob("*.safetensors"))
    return (folder / "config.json").is_file() and bool(files) and all(map(_readable, files))


def _readable(path: Path) -> bool:
    """Whether a safetensors file is whole: its header says where the last tensor ends."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as file:
            return bool(list(file.keys()))
    except (OSError, SafetensorError):
        return False


def _spacy(pipeline: Path) -> Check:
    found = _installed("spacy", "pip install -e .")
    if not found.ok:
        return found
    embedded = "embedded pipeline" if (pipeline / "meta.json").is_file() else ""
    english = "en_core_web_sm" if _version("en-core-web-sm") else ""
    have = " and ".join(filter(None, (embedded, english)))
    if not have:
        remedy = f"{sys.executable} -m spacy download en_core_web_sm"
        return Check("spacy", False, f"{found.detail}, no pipeline", remedy)
    return Check("spacy", True, f"{found.detail}, {have}")


def _vllm(folder: Path) -> Check:
    """Whether vLLM can be imported in an environment of its own."""
    found = vllm_env.look(folder)
    detail = f"{found.version} in {folder}" if found.version else found.reason
    fits = bool(found.version)
    return Check("vllm", fits, detail, _unless(fits, f"grand models vllm-env {folder}"))


def _optional(package: str, purpose: str, remedy: str) -> Check:
    version = _version(package)
    if version:
        return Check(package, True, f"{version} ({purpose})")
    return Check(package, True, f"not installed; only for {purpose}", remedy)


def _installed(package: str, remedy: str) -> Check:
    version = _version(package)
    return Check(package, bool(version), version or "not installed", _unless(bool(version), remedy))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _free_gb(folder: Path) -> float:
    return shutil.disk_usage(folder).free / 1e9


def _unless(fits: bool, remedy: str) -> str | None:
    return None if fits else remedy
