"""Who may import whom, what an import may load, and how long files and functions may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("grand_pipeline", "stages", "prompts", "training")

LAYERS: tuple[frozenset[str], ...] = (
    frozenset(
        {"errors", "types", "generation", "english", "heap", "schedule", "compiling", "seal"}
        | {"inert", "lastwords", "memory", "terminal", "bounded", "rgb", "quiet"}
    ),
    frozenset({"disk", "storage", "guard"}),
    frozenset(
        {
            "geometry",
            "codec",
            "graph",
            "overlaps",
            "spans",
            "relations",
            "layers",
            "references",
            "labels",
        }
        | {"listfiles", "fields", "lexicon", "zoo", "hub_cache", "vllm_env", "publication"}
        | {"poison"}
    ),
    frozenset(
        {"columns", "matching", "weights", "images", "lock", "affordances"}
        | {"statements", "structured", "download"}
    ),
    frozenset({"record", "sources", "publish", "grand_v1", "consensus", "describing", "claims"}),
    frozenset({"stage", "ingest"}),
    frozenset({"catalog", "plan", "footprint", "reasons"}),
    frozenset({"settings", "store", "plan_view", "presence", "ahead", "cluster"}),
    frozenset({"fragments"}),
    frozenset({"worker", "picturebook", "fetch", "estimate", "accounts"}),
    frozenset(
        {"annotations", "evaluation", "show", "explain", "stats", "novelty", "progress", "doctor"}
        | {"preflight", "verify", "query", "retry"}
    ),
    frozenset({"actor", "viewer"}),
    frozenset({"pool", "repair"}),
    frozenset({"runner"}),
    frozenset({"build"}),
    frozenset({"importers", "exporters"}),
    frozenset({"cli"}),
    # Only the generator of the reference pages looks at the commands from outside.
    frozenset({"docs"}),
)
"""Modules and sub-packages of grand_pipeline from the ground up; each imports only what is below
it. A new module has to be given its place here."""

STAGES_MAY = frozenset(
    {"types", "geometry", "columns", "record", "stage", "errors", "weights", "images"}
    | {"relations", "layers", "labels", "matching", "spans", "references", "graph", "grand_v1"}
    | {"consensus", "overlaps", "affordances", "describing", "generation", "claims", "structured"}
    | {"statements", "vllm_env", "inert"}
)
TRAINING_MAY = frozenset(
    {"errors", "heap", "types", "geometry", "codec", "columns", "relations", "references", "images"}
    | {"weights", "store", "graph", "labels", "picturebook", "fields", "listfiles"}
)
HEAVY = ("torch", "ray", "transformers", "spacy")
FILE_LINES = 300
FUNCTION_LINES = 40


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources(*packages: str) -> dict[str, Path]:
    paths = (path for package in packages for path in (ROOT / package).rglob("*.py"))
    return {module_name(path): path for path in sorted(paths)}


ALL = sources(*PACKAGES)


def imports(path: Path) -> set[str]:
    """Project modules that a file imports anywhere, inside functions and type checks too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in ALL else str(node.module) for name in names}
    return {name for name in found if name.partition(".")[0] in PACKAGES}


def unit(module: str) -> str:
    """`grand_pipeline.show.draw` belongs to unit `show`; the package itself to none."""
    return module.partition(".")[2].partition(".")[0]


def height(name: str) -> int:
    return next(index for index, layer in enumerate(LAYERS) if name in layer)


ENGINE = sources("grand_pipeline")


@pytest.mark.parametrize("module", ENGINE)
def test_engine_imports_point_down(module: str) -> None:
    mine = unit(module)
    if not mine:
        assert imports(ENGINE[module]) == set()
        return
    assert any(mine in layer for layer in LAYERS), f"give '{mine}' a place in LAYERS"
    for other in imports(ENGINE[module]):
        package = other.partition(".")[0]
        if mine == "cli" and package == "training":
            continue  # the one room that sees engine and training
        assert package == "grand_pipeline", f"{module} imports {other}"
        theirs = unit(other)
        if theirs and theirs != mine:
            assert height(theirs) < height(mine), f"{module} imports {other}"


def test_every_place_is_taken_once() -> None:
    places = [name for layer in LAYERS for name in layer]
    assert sorted(places) == sorted(set(places))
    assert set(places) == {unit(module) for module in ENGINE} - {""}


def test_no_import_cycles() -> None:
    edges = {module: imports(path) & set(ALL) for module, path in ALL.items()}
    done: set[str] = set()
    while ready := {module for module in edges if module not in done and edges[module] <= done}:
        done |= ready
    assert set(edges) - done == set()


@pytest.mark.parametrize("module", sources("stages"))
def test_stages_see_the_interface_only(module: str) -> None:
    for other in imports(ALL[module]):
        package = other.partition(".")[0]
        helper = package == "stages" and not other.startswith("stages.level")
        below = package == "grand_pipeline" and unit(other) in STAGES_MAY
        # What was trained is put to use by a stage: its network, but nothing that trains.
        network = other.startswith("training.models.")
        assert below or helper or network or package == "prompts", f"{module} imports {other}"


@pytest.mark.parametrize("module", sources("training"))
def test_training_sees_values_and_the_store(module: str) -> None:
    for other in imports(ALL[module]):
        below = other.startswith("grand_pipeline.") and unit(other) in TRAINING_MAY
        own = other.partition(".")[0] in ("training", "prompts")
        assert below or own, f"{module} imports {other}"


def test_only_the_reference_generator_imports_the_command_line() -> None:
    users = {module for module, path in ALL.items() if "grand_pipeline.cli" in imports(path)}
    assert users <= {"grand_pipeline.docs"}


@pytest.mark.parametrize("package", ["grand_pipeline", "stages", "prompts"])
def test_importing_loads_nothing_heavy(package: str) -> None:
    code = (
        "import importlib, sys\n"
        f"for name in {sorted(sources(package))!r}: importlib.import_module(name)\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, the docstring not counted."""
    text = ast.get_docstring(node, clean=False)
    return (node.end_lineno or 0) - node.lineno + 1 - (text.count("\n") + 1 if text else 0)


@pytest.mark.parametrize("module", ALL)
def test_files_and_functions_fit_on_a_page(module: str) -> None:
    path = ALL[module]
    total = len(path.read_text("utf-8").splitlines())
    assert total <= FILE_LINES, f"{path} has {total} lines"
    lengths = {node.name: length(node) for node in functions(path)}
    long = {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES}
    assert not long, f"{path}: {long}"
