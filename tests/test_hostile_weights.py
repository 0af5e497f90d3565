"""Weights that were made to do harm: nothing that comes with a model is ever run, and what can not
be loaded is one error that names it."""

from __future__ import annotations

import io
import json
import shutil
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from grand_pipeline import weights
from grand_pipeline.errors import GrandError, SettingsError
from stages import detector as detectors
from stages import hub, open_clip, parsing, published, ram, sam, sam_original
from stages.chat import local, template
from stages.mdetr import checkpoint as mdetr
from tests import pickles
from tests.tiny import densevlm as tiny_densevlm
from tests.tiny import groupvit as tiny_groupvit
from tests.tiny import xvlm as tiny_xvlm
from tests.tiny.chats import llama
from tests.tiny.checkpoints import Builder, checkpoint, clip, owl_vit
from tests.tiny.masks import sam as tiny_sam
from tests.tiny.segment_anything import Package
from training import pretrained
from training.models.densevlm import eva02_weights
from training.models.densevlm import export as densevlm
from training.models.groupvit import export as groupvit
from training.models.xvlm import export as xvlm

Load = Callable[[Path], object]


def copied(build: Builder, folder: Path) -> Path:
    """A checkpoint to do things to."""
    shutil.copytree(checkpoint(build), folder)
    return folder


def edited(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@contextmanager
def answering(text: str) -> Iterator[None]:
    """A terminal at which somebody answers every question."""
    before, sys.stdin = sys.stdin, io.StringIO(text * 50)
    try:
        yield
    finally:
        sys.stdin = before


FOLDERS: dict[str, tuple[Builder, Load]] = {
    "model": (clip, lambda folder: hub.pretrained("AutoModel", str(folder), "cpu")),
    "detector": (owl_vit, lambda folder: detectors.load(str(folder), "cpu")),
    "segmenter": (tiny_sam, lambda folder: sam.load(str(folder), "cpu")),
    "chat": (llama, lambda folder: local.load(str(folder), "cpu")),
    "training": (clip, lambda folder: pretrained.loaded("CLIPModel", str(folder))),
}


@pytest.mark.parametrize("way", sorted(pickles.WAYS))
@pytest.mark.parametrize("kind", sorted(FOLDERS))
def test_a_pickle_in_a_folder_of_a_model_is_never_run(tmp_path: Path, kind: str, way: str) -> None:
    build, load = FOLDERS[kind]
    folder = copied(build, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    pickles.WAYS[way](folder / "pytorch_model.bin", tmp_path / "canary")
    with pytest.raises(SettingsError, match="its weights are a pickle that holds more than"):
        load(folder)
    assert not (tmp_path / "canary").exists()


FILES: dict[str, Load] = {
    "published": lambda path: published.state(path, "the file", "Fetch it."),
    "segment-anything": lambda path: sam_original.load(path, "cpu", "float32", Package()),
    "mdetr": lambda path: mdetr.load(str(path), "cpu"),
    "ram": lambda path: ram.load(str(path), "cpu"),
}


@pytest.mark.parametrize("way", sorted(pickles.WAYS))
@pytest.mark.parametrize("kind", sorted(FILES))
def test_a_pickle_in_a_published_file_is_never_run(tmp_path: Path, kind: str, way: str) -> None:
    path = tmp_path / "sam_vit_b_pretrained_EB3_ram_swin_large_14m.pth"
    pickles.WAYS[way](path, tmp_path / "canary")
    with pytest.raises(SettingsError, match="can not be read as weights"):
        FILES[kind](path)
    assert not (tmp_path / "canary").exists()


def xvlm_saved(folder: Path) -> None:
    tokenizer = tiny_groupvit.trained().tokenizer
    xvlm.save(folder, xvlm.Trained(tiny_xvlm.network(), tokenizer, tokens=8))


def densevlm_saved(folder: Path) -> None:
    texts = torch.zeros(2, 6)
    densevlm.save(folder, densevlm.Trained(tiny_densevlm.tower(), 32, ("dog",), ("sky",), texts))


TRAINED: dict[str, tuple[Callable[[Path], object], Load]] = {
    "xvlm": (xvlm_saved, xvlm.load),
    "groupvit": (lambda f: groupvit.save(f, tiny_groupvit.trained()), groupvit.load),
    "densevlm": (densevlm_saved, densevlm.load),
    "eva02": (
        tiny_densevlm.repository,
        lambda folder: eva02_weights.load(folder, tiny_densevlm.SIZES),
    ),
}


@pytest.mark.parametrize("kind", sorted(TRAINED))
def test_a_pickle_in_a_trained_model_is_never_run(tmp_path: Path, kind: str) -> None:
    save, load = TRAINED[kind]
    save(tmp_path / "model")
    load(tmp_path / "model")
    for path in (tmp_path / "model").glob("*.safetensors"):
        path.unlink()
        for name in (path.name, "open_clip_pytorch_model.bin", "pytorch_model.bin"):
            pickles.bare(path.with_name(name), tmp_path / "canary")
    with pytest.raises(SettingsError, match="holds no"):
        load(tmp_path / "model")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("kind", ["xvlm", "groupvit"])
def test_code_beside_a_trained_model_is_not_run(tmp_path: Path, kind: str) -> None:
    save, load = TRAINED[kind]
    save(tmp_path / "model")
    for path in list((tmp_path / "model").rglob("tokenizer_config.json")):
        pickles.code(path.parent, tmp_path / "canary", "own.py")
        edited(path, tokenizer_class="Own", auto_map={"AutoTokenizer": ["own.Own", "own.Own"]})
    with answering("y\n"), suppress(GrandError):
        load(tmp_path / "model")
    assert not (tmp_path / "canary").exists()


def prepared(auto: str, folder: Path) -> object:
    return hub.preprocessor(auto, str(folder))


OWN: dict[str, Load] = {
    "AutoModel": lambda folder: hub.pretrained("AutoModel", str(folder), "cpu"),
    "AutoConfig": lambda folder: pretrained.loaded("AutoConfig", str(folder)),
    "AutoTokenizer": partial(prepared, "AutoTokenizer"),
    "AutoProcessor": partial(prepared, "AutoProcessor"),
    "AutoImageProcessor": partial(prepared, "AutoImageProcessor"),
}


@pytest.mark.parametrize("auto", sorted(OWN))
def test_code_beside_a_model_is_not_run_even_if_the_terminal_says_yes(
    tmp_path: Path, auto: str
) -> None:
    folder = copied(clip, tmp_path / "model")
    pickles.code(folder, tmp_path / "canary", "own.py", "__init__.py")
    kinds = {"model_type": "own", "tokenizer_class": "Own", "processor_class": "Own"}
    own = dict.fromkeys([*OWN], "own.Own") | {"AutoTokenizer": ["own.Own", "own.Own"]}
    (folder / "preprocessor_config.json").write_text("{}")
    (folder / "processor_config.json").write_text("{}")
    for path in folder.glob("*config.json"):
        edited(path, auto_map=own, image_processor_type="Own", **kinds)
    with answering("y\n"), suppress(GrandError):
        OWN[auto](folder)
    assert not (tmp_path / "canary").exists()


def test_open_clip_is_not_told_to_trust_by_the_model_itself(tmp_path: Path) -> None:
    asked = {"text_cfg": {"tokenizer_kwargs": {"trust_remote_code": True}}}
    (tmp_path / open_clip.CONFIG).write_text(json.dumps({"model_cfg": asked}))
    with pytest.raises(SettingsError, match="asks to trust code that comes with it"):
        open_clip.load(f"open_clip:{tmp_path}", "cpu", package=object())


@pytest.mark.parametrize("name", ["tokenizer", "parser/model", "vocab/vectors", "config.cfg"])
def test_nothing_in_a_pipeline_is_run(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "pipeline"
    shutil.copytree(weights.resolve("embedded:spacy"), folder)
    (folder / "vocab").mkdir(exist_ok=True)
    pickles.code(folder, tmp_path / "canary", "__init__.py", "setup.py")
    pickles.bare(folder / name, tmp_path / "canary")
    with pytest.raises(SettingsError, match="can not be loaded as a spaCy pipeline"):
        parsing.load(str(folder))
    assert not (tmp_path / "canary").exists()


TEMPLATES = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.system('touch CANARY') }}",
    "{{ (messages|attr('append'))(1) }}{{ messages.append(1) }}",
    "{% include '/etc/passwd' %}",
    "{% for i in range(10**9) %}x{% endfor %}",
)


@pytest.mark.parametrize("text", TEMPLATES)
def test_a_chat_template_reaches_nothing(tmp_path: Path, text: str) -> None:
    folder = copied(llama, tmp_path / "model")
    canary = tmp_path / "canary"
    (folder / "chat_template.jinja").write_text(text.replace("CANARY", str(canary)))
    live = local.load(str(folder), "cpu")
    with pytest.raises(Exception, match=r"unsafe|no loader|Range too big|not callable|undefined"):
        template.rendered(live.tokenizer, [{"role": "user", "content": "hi"}])
    assert not canary.exists()


def tensors(header: Any, data: bytes = b"") -> bytes:
    """A safetensors file, true or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


LIES: dict[str, bytes] = {
    "terabytes": tensors({"a": entry([10**12], 0, 4 * 10**12)}),
    "overflow": tensors({"a": entry([2**33, 2**33], 0, 8)}, bytes(8)),
    "overlap": tensors({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12)),
    "hole": tensors({"a": entry([2], 8, 16)}, bytes(16)),
    "backwards": tensors({"a": entry([2], 8, 0)}, bytes(8)),
    "type": tensors({"a": entry([2], 0, 8, "PICKLE")}, bytes(8)),
    "long header": struct.pack("<Q", 2**63) + b"{}",
    "deep header": tensors(b"[" * 50_000),
    "no header": b"",
    "pickle": b"\x80\x04cos\nsystem\n.",
}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_tensors_that_are_not_what_they_say(tmp_path: Path, lie: str) -> None:
    folder = copied(clip, tmp_path / "model")
    (folder / "model.safetensors").write_bytes(LIES[lie])
    with pytest.raises(SettingsError, match="can not be loaded as AutoModel"):
        hub.pretrained("AutoModel", str(folder), "cpu")


CONFIGS: dict[str, Any] = {
    "wide": {"text_config": {"hidden_size": 10**9}},
    "words": {"text_config": {"vocab_size": 10**12}},
    "deep": {"text_config": {"num_hidden_layers": 10**9}},
    "deeper": {"vision_config": {"depths": [2, 2, 10**7]}},
    "negative": {"vision_config": {"hidden_size": -4}},
    "none": {"vision_config": {"patch_size": 0}},
    "text": {"text_config": {"hidden_size": "big"}},
    "kind": {"model_type": "../../evil"},
}


@pytest.mark.parametrize("case", sorted(CONFIGS))
def test_absurd_configurations_are_refused_at_once(tmp_path: Path, case: str) -> None:
    folder = copied(clip, tmp_path / "model")
    edited(folder / "config.json", **CONFIGS[case])
    with pytest.raises(SettingsError, match=r"config\.json"):
        hub.pretrained("AutoModel", str(folder), "cpu")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"model": 5}',
        '{"added_tokens": [], "model": {"type": "Own"}}',
    ],
    ids=range(6),
)
def test_a_tokenizer_of_nonsense(tmp_path: Path, text: str) -> None:
    folder = copied(clip, tmp_path / "model")
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(SettingsError, match="can not be loaded as AutoProcessor"):
        hub.preprocessor("AutoProcessor", str(folder))
