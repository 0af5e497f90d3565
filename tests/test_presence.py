"""Every kind of model is looked up without asking anybody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from grand_pipeline import presence, settings
from tests.test_weights import COMMIT, cached


def look(model: str, cache: Path) -> presence.Presence:
    return presence.look(model, ("stage",), {"HF_HUB_CACHE": str(cache)})


def test_a_model_of_the_hub(tmp_path: Path) -> None:
    absent = look("owner/name", tmp_path)
    assert not absent.here and absent.fetchable
    assert absent.remedy == "grand models pull owner/name"
    cached(tmp_path, "owner/name")
    found = look("owner/name", tmp_path)
    assert found.here and found.revision == COMMIT and found.bytes == 4
    other = look("owner/name@other", tmp_path)
    assert not other.here and "at revision other" in other.detail


def test_a_torn_model_says_what_is_lacking(tmp_path: Path) -> None:
    cached(tmp_path, "owner/name")
    (tmp_path / "models--owner--name" / "snapshots" / COMMIT / "model.safetensors").unlink()
    torn = look("owner/name", tmp_path)
    assert not torn.here and "cut short" in torn.detail and "no weights" in torn.detail


def test_files_and_folders(tmp_path: Path) -> None:
    file = tmp_path / "own.pth"
    absent = look(str(file), tmp_path)
    assert not absent.here and not absent.fetchable and "give a file" in (absent.remedy or "")
    known = look(str(tmp_path / "sam_vit_b_01ec64.pth"), tmp_path)
    assert not known.here and known.fetchable
    file.write_bytes(b"12345")
    assert look(str(file), tmp_path).bytes == 5
    (tmp_path / "folder").mkdir()
    assert "no config.json" in look(str(tmp_path / "folder"), tmp_path).detail


def test_pipelines_are_packages(tmp_path: Path) -> None:
    absent = look("xx_none_here_sm", tmp_path)
    assert not absent.here and absent.detail == "the package is not installed"
    assert absent.remedy == f"{sys.executable} -m spacy download xx_none_here_sm"


def test_all_that_the_default_preset_needs_ships_with_it(tmp_path: Path) -> None:
    needed = presence.needs(settings.stages(settings.load_preset("picturebook")))
    assert needed["embedded:sam"] == ("segments", "masks")
    found = [look(model, tmp_path) for model in needed]
    assert all(one.here and one.kind == "embedded" and one.bytes > 1000 for one in found)
    wrong = look("embedded:nothing", tmp_path)
    assert not wrong.here and wrong.remedy


def test_looking_loads_no_library_of_models() -> None:
    code = (
        "import sys\n"
        "from grand_pipeline import preflight, presence, settings\n"
        "preset = settings.load_preset('picturebook')\n"
        "preflight.ready(preset, None, print)\n"
        "heavy = ('torch', 'transformers', 'ray', 'spacy', 'huggingface_hub', 'httpx')\n"
        "print(*[name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
