"""The file tree in the README names what is there, and leaves nothing out."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
LISTED_INSIDE = ("grand_pipeline", "stages", "prompts", "training")
MADE_BY_TOOLS = {"build", "dist", "demo", "runs", "__pycache__"}


def tree() -> dict[str, str]:
    """Path -> remark, of every line of the tree."""
    block = README.split("## What is where")[1].split("```")[1]
    found: dict[str, str] = {}
    folders: list[str] = []
    for line in block.strip("\n").splitlines():
        indent, name, remark = re.fullmatch(r"( *)(\S+)\s*(.*)", line).groups()
        folders[len(indent) // 2 :] = [name]
        found["".join(folders)] = remark
    return found


def shown(folder: Path) -> set[str]:
    """What a reader sees in a folder: no hidden names, nothing that tools leave behind."""
    return {
        path.relative_to(ROOT).as_posix() + "/" * path.is_dir()
        for path in folder.iterdir()
        if not path.name.startswith((".", "__init__"))
        and path.name not in MADE_BY_TOOLS
        and not path.name.endswith(".egg-info")
    }


def test_everything_in_the_tree_exists_and_is_explained() -> None:
    for name, remark in tree().items():
        assert (ROOT / name).is_dir() == name.endswith("/"), name
        assert (ROOT / name).exists(), name
        assert remark, f"{name} has no remark"


def test_nothing_is_left_out() -> None:
    expected = set.union(*(shown(ROOT / name) for name in ("", *LISTED_INSIDE)))
    assert expected - set(tree()) == set()


def test_links_and_pictures_exist() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    local = [target for target in targets if "://" not in target]
    assert local
    assert [target for target in local if not (ROOT / target).exists()] == []


def test_commands_in_the_readme_exist() -> None:
    commands = (ROOT / "docs" / "commands.md").read_text("utf-8")
    families = "picturebook|eval|import|export|models"
    used = set(re.findall(rf"\bgrand ((?:(?:{families}) )?[a-z-]+)\b", README))
    documented = set(re.findall(r"## `grand ([a-z -]+)`", commands))
    assert {"build", "show", "eval labels"} <= used
    assert {name for name in used if name not in documented} == set()


def test_make_targets_in_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
