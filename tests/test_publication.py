from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from grand_pipeline import publication

TABLE = pa.table({"x": [1, 2, 3]})


def test_published_once_with_metadata_and_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "a" / "0.parquet"
    assert publication.publish(TABLE, path, {"fingerprint": "f1"})
    assert not publication.publish(pa.table({"x": [9]}), path, {"fingerprint": "f2"})
    assert pq.read_table(path).to_pydict() == {"x": [1, 2, 3]}
    assert publication.metadata(path) == {"fingerprint": "f1"}
    assert [p.name for p in path.parent.iterdir()] == ["0.parquet"]


def test_crash_before_the_link_leaves_nothing_under_the_final_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise OSError("power cut")

    monkeypatch.setattr(os, "link", crash)
    with pytest.raises(OSError, match="power cut"):
        publication.publish(TABLE, tmp_path / "0.parquet", {})
    assert list(tmp_path.iterdir()) == []


def test_torn_file_has_no_metadata(tmp_path: Path) -> None:
    path = tmp_path / "0.parquet"
    publication.publish(TABLE, path, {"fingerprint": "f"})
    path.write_bytes(path.read_bytes()[:-5])
    assert publication.metadata(path) is None
    assert publication.metadata(tmp_path / "absent.parquet") is None


def test_sweep_takes_only_temporaries(tmp_path: Path) -> None:
    publication.publish(TABLE, tmp_path / "s" / "0.parquet", {})
    (tmp_path / "s" / ".tmp-0-abc").write_bytes(b"torn")
    assert publication.sweep(tmp_path) == 1
    assert [p.name for p in (tmp_path / "s").iterdir()] == ["0.parquet"]
