"""The package holds no call that runs what comes out of a file, a network or a setting."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("grand_pipeline", "stages", "prompts", "training", "benchmarks")
MODULES = frozenset(
    ("pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml")
)
NAMES = frozenset({"eval", "exec", "compile", "__import__"})
CALLS = frozenset(
    (
        *("os.system", "os.popen", "os.execvp", "subprocess.getoutput", "torch.hub.load"),
        *("subprocess.getstatusoutput", "tempfile.mktemp", "torch.jit.load", "np.fromfile"),
        *("tarfile.open", "shutil.unpack_archive", "jinja2.Template", "jinja2.Environment"),
    )
)
NEVER = {"shell", "trust_remote_code", "allow_pickle"}
"""Arguments that must be left out or be `False`."""


WORDS = re.compile(
    "|".join({name.rpartition(".")[2] for name in MODULES | NAMES | CALLS | NEVER})
    + r"|extractall|torch\.load|from_pretrained"
)
"""A file without any of these needs no closer look."""


def dotted(node: ast.expr) -> str:
    """`os.path.join` for the expression that says it."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if node.module else []


def faults(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, what) of everything that could run data."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            wrong = [name for name in imported(node) if name.partition(".")[0] in MODULES]
            yield from ((node.lineno, f"imports {name}") for name in wrong)
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        given = {word.arg: word.value for word in node.keywords}
        if name in NAMES or name in CALLS or name.rpartition(".")[2] == "extractall":
            yield node.lineno, f"calls {name}"
        for word in NEVER & given.keys():
            value = given[word]
            if not (isinstance(value, ast.Constant) and value.value is False):
                yield node.lineno, f"{name}({word}=...)"
        only = given.get("weights_only")
        if name == "torch.load" and not (isinstance(only, ast.Constant) and only.value is True):
            yield node.lineno, "torch.load without weights_only=True"
        found = name.rpartition(".")
        auto = found[0].rpartition(".")[2].startswith("Auto") or not found[0]
        if found[2] == "from_pretrained" and auto and "trust_remote_code" not in given:
            yield node.lineno, "from_pretrained of any class without trust_remote_code=False"


def test_nothing_in_the_package_runs_data() -> None:
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    texts = {path: path.read_text("utf-8") for path in paths}
    found = [
        f"{path.relative_to(ROOT)}:{line} {what}"
        for path, text in texts.items()
        if WORDS.search(text)
        for line, what in faults(ast.parse(text))
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        *("import pickle", "from marshal import loads", "import yaml", "eval(text)"),
        *("exec(text)", "os.system(text)", "subprocess.run(text, shell=True)"),
        *("torch.load(path)", "torch.load(path, weights_only=False)"),
        *("np.load(path, allow_pickle=True)", "archive.extractall(place)", "compile(a, b, 'exec')"),
        *("AutoModel.from_pretrained(place)", "getattr(library, name).from_pretrained(place)"),
        "AutoModel.from_pretrained(place, trust_remote_code=True)",
        "Model.from_pretrained(place, trust_remote_code=wish)",
    ],
)
def test_each_fault_would_be_found(text: str) -> None:
    assert WORDS.search(text) and len(list(faults(ast.parse(text)))) == 1


@pytest.mark.parametrize(
    "text",
    [
        *("re.compile(text)", "model.eval()", "torch.load(path, weights_only=True)"),
        *("subprocess.run([a, b])", "CLIPTokenizer.from_pretrained(place)"),
    ],
)
def test_what_is_safe_is_no_fault(text: str) -> None:
    assert list(faults(ast.parse(text))) == []
