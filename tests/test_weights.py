from __future__ import annotations

from pathlib import Path

import pytest

from grand_pipeline import weights
from grand_pipeline.errors import SettingsError


def test_a_file_is_a_model_known_by_its_content(tmp_path: Path) -> None:
    file, copy, other = (tmp_path / name for name in ("a.pth", "b.pth", "c.pth"))
    file.write_bytes(b"weights")
    copy.write_bytes(b"weights")
    other.write_bytes(b"others")
    assert weights.resolve(str(file)) == str(file)
    assert weights.revision(str(file)) is None
    assert weights.digest(str(file)) == weights.digest(str(copy)) != weights.digest(str(other))


def test_what_looks_like_a_path_has_to_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist; give a file, a folder or a hub id"):
        weights.resolve(str(tmp_path / "nothing.pth"))


def test_a_hub_id_is_known_by_its_name_and_revision() -> None:
    assert weights.resolve("owner/name@abc") == "owner/name"
    assert weights.revision("owner/name@abc") == "abc"
    assert weights.digest("owner/name@abc") == "hub:owner/name@abc"
