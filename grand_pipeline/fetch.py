"""Fetching models: repositories of the hub, published files, spaCy pipelines.

What was begun is gone on with, and nothing is fetched twice. A repository's weights come before
its small files and the note of its commit comes last, so that what looks whole is whole. Nothing
that is fetched is ever unpickled here.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from grand_pipeline import download, hub_cache, presence, weights
from grand_pipeline.errors import MissingDependencyError
from grand_pipeline.hub_cache import Part
from grand_pipeline.weights import Source
from grand_pipeline.zoo.files import BY_NAME, PublishedFile

_SMALL = (".json", ".txt", ".jinja", ".model", ".tiktoken")
_INDEX = ".index.json"
_NAME = re.compile(r"[\w(][\w .+()\[\]=,@-]{0,200}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PATIENCE = 8.0
"""Seconds for the first answer of the hub."""


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return lines[-1] if done.returncode else ""


@dataclass(frozen=True)
class Fetcher:
    """Where models are fetched from, where to, and who hears of it."""

    cache: Path
    endpoint: str
    offline: bool
    say: Callable[[str], None]
    """Told how far it is, line by line."""
    run: Callable[[Sequence[str]], str] = _run
    """Runs a command of the system; what it complained of, empty where it succeeded."""
    files: Mapping[str, PublishedFile] = field(default_factory=lambda: BY_NAME)
    """The published files, by name."""


def fetcher(say: Callable[[str], None], environment: Mapping[str, str] = os.environ) -> Fetcher:
    """The one that Hugging Face's environment variables ask for."""
    cache, endpoint = hub_cache.folder(environment), hub_cache.endpoint(environment)
    return Fetcher(cache, endpoint, hub_cache.offline(environment), say)


def check_reachable(models: Iterable[str], by: Fetcher) -> None:
    """Raise MissingDependencyError, one line, where nothing of `models` can be fetched: the hub
    must not be asked, or one of them is there and it does not answer within seconds."""
    if by.offline:
        raise MissingDependencyError(
            "HF_HUB_OFFLINE is set, so nothing is fetched. Unset it where there is a network, or "
            f"copy {by.cache} from a machine that has the models"
        )
    if any(weights.source(model).kind == "hub" for model in models):
        import httpx

        try:
            httpx.head(by.endpoint, timeout=_PATIENCE)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise MissingDependencyError(
                f"{by.endpoint} does not answer: {error or type(error).__name__}. Try again where "
                f"there is a network, or copy {by.cache} from a machine that has the models"
            ) from error


def pull(model: str, by: Fetcher) -> None:
    """Fetch what of `model` is not here, and the newest commit of a branch.

    Raises MissingDependencyError, one line, when that can not be.
    """
    source = weights.source(model)
    if source.kind == "hub":
        _pull_repository(model, source, by)
    elif source.kind == "spacy":
        _pull_pipeline(source.name, by)
    else:
        _pull_file(model, source, by)


def _pull_pipeline(name: str, by: Fetcher) -> None:
    command = [sys.executable, "-m", "spacy", "download", name]
    by.say(f"{name}: {' '.join(command)}")
    if complaint := by.run(command):
        raise MissingDependencyError(
            f"spaCy pipeline '{name}' could not be installed: {complaint[:300]}. Where there is a "
            f"network run `{' '.join(command)}`"
        )
    by.say(f"{name}: installed")


def _pull_file(model: str, source: Source, by: Fetcher) -> None:
    place = Path(source.name).expanduser()
    published = by.files.get(place.name)
    if published is None:
        raise MissingDependencyError(
            f"'{model}' can not be fetched: nobody here knows where it comes from. Files that are "
            f"known by name: {', '.join(sorted(by.files))}"
        )
    download.fetch(published, place, by.say)


def _pull_repository(model: str, source: Source, by: Fetcher) -> None:
    import huggingface_hub

    if not weights.is_hub_id(source):
        raise MissingDependencyError(
            f"'{model}' can not be the name of a model of the hub: OWNER/NAME or "
            "OWNER/NAME@REVISION, of letters, digits and . _ -"
        )
    by.say(f"{model}: asking {by.endpoint}")
    api = huggingface_hub.HfApi(endpoint=by.endpoint)
    try:
        info = api.model_info(source.name, revision=source.revision, files_metadata=True)
        if not hub_cache.COMMIT.fullmatch(str(info.sha)):
            raise ValueError(f"'{str(info.sha)[:80]}' is no commit")
        _receive(model, source, str(info.sha), {f.rfilename: f for f in info.siblings or ()}, by)
    except MissingDependencyError:
        raise
    except Exception as error:  # what a broken network raises differs with the client's release
        raise MissingDependencyError(_explained(model, source, by, error)) from error
    hub_cache.pin(by.cache, source.name, source.revision, str(info.sha))
    found = presence.look(model, (), {"HF_HUB_CACHE": str(by.cache)})
    if not found.here:
        raise MissingDependencyError(f"'{model}' is not whole: {found.detail}; fetch it again")
    by.say(f"{model}: here at commit {info.sha}, {found.bytes / 1e6:.1f} MB")


def _receive(
    model: str, source: Source, commit: str, files: Mapping[str, Any], by: Fetcher
) -> None:
    """Bring the needed files of a commit into the cache, weights first."""
    import huggingface_hub

    large, small = chosen(files, source.part)
    if not large and source.part != "tokenizer":
        raise MissingDependencyError(
            f"'{model}' has no weights that the stages can load: neither safetensors nor "
            f"pytorch_model.bin among its {len(files)} files. Name another checkpoint"
        )
    token = huggingface_hub.get_token()
    key = {"Authorization": f"Bearer {token}"} if token else {}
    blobs = hub_cache.repository(by.cache, source.name) / "blobs"
    for path in large:
        # The library begins a file that was cut short again; found here, it takes it as its own.
        if files[path].lfs is not None:
            url = f"{by.endpoint}/{source.name}/resolve/{commit}/{quote(path)}"
            sha256 = str(files[path].lfs.sha256)
            if not _SHA256.fullmatch(sha256):  # It becomes the name of a file.
                raise ValueError(f"'{sha256[:80]}' is no sha256 of {path}")
            wanted = PublishedFile(path, url, files[path].size, sha256)
            download.fetch(wanted, blobs / sha256, by.say, key)
    for paths in (large, small):
        _snapshot(source.name, commit, paths, by)


def _snapshot(name: str, commit: str, files: Sequence[str], by: Fetcher) -> None:
    import huggingface_hub

    if not files:
        return
    # By name, because what it offers is found at run time and has no types.
    utils: Any = importlib.import_module("huggingface_hub.utils")
    shown = not utils.are_progress_bars_disabled()
    utils.disable_progress_bars()
    try:
        huggingface_hub.snapshot_download(
            name,
            revision=commit,
            cache_dir=by.cache,
            endpoint=by.endpoint,
            # These are patterns, and a name may have brackets in it.
            allow_patterns=[re.sub(r"([\[*?])", r"[\1]", path) for path in files],
        )
    finally:
        if shown:
            utils.enable_progress_bars()


def chosen(files: Iterable[str], part: Part) -> tuple[list[str], list[str]]:
    """The files of a repository that are needed: weights, and the small ones beside them.

    Args:
        files: paths in the repository.
        part: what of the repository is needed.

    Weights are taken in one format, safetensors where there are any. Copies for other libraries,
    in folders of their own, and code are left out.
    """
    # The others are in folders, or no names that a file should have.
    top = [path for path in files if _NAME.fullmatch(path)]
    large = _weights(top, part)
    indexes = {f"{_stem(path)}{_INDEX}" for path in large}
    small = [
        path
        for path in top
        if path.endswith(_SMALL) and (not path.endswith(_INDEX) or path in indexes)
    ]
    return large, small


def _weights(top: Sequence[str], part: Part) -> list[str]:
    if part == "tokenizer":
        return []
    for name in hub_cache.OPEN_CLIP_WEIGHTS if part == "open_clip" else hub_cache.WEIGHTS:
        if name in top:
            return [name]
        cut = sorted(path for path in top if _stem(path) == name and path != name)
        if cut:
            return cut
    return []


def _stem(path: str) -> str:
    """`model.safetensors` for `model-00001-of-00002.safetensors`."""
    return re.sub(r"-\d{5}-of-\d{5}(?=\.\w+$)", "", path)


def _explained(model: str, source: Source, by: Fetcher, error: Exception) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return (
            f"'{model}' is given only to those who accept its licence: do so on "
            f"{by.endpoint}/{source.name}, then say `hf auth login`"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{by.endpoint} has no repository '{source.name}', or it is private: correct the name, "
            "or say `hf auth login`"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"'{source.name}' has no revision '{source.revision}' on {by.endpoint}"
    reason = str(error).strip().partition("\n")[0][:200]
    return (
        f"'{model}' could not be fetched from {by.endpoint}: {type(error).__name__}: {reason}. "
        f"Run `{presence.pull_command([model])}` to go on where it stopped"
    )
