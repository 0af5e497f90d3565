"""Ray Train runs a recipe's own `main`, and a killed worker costs the steps since a checkpoint."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from grand_pipeline.errors import UserError
from tests.training import toy
from training import catalog, ray_train
from training.checkpoint import newest
from training.logs import read

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]  # Ray warns on its own


@pytest.fixture
def known() -> Iterator[None]:
    catalog.RECIPES["toy"] = "tests.training.toy"
    yield
    del catalog.RECIPES["toy"]


@pytest.fixture
def cluster() -> Iterator[None]:
    pytest.importorskip("ray.train", exc_type=ImportError, reason="needs the extra ray-train")
    import ray

    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init("local", num_cpus=2, runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}}, **quiet)
    yield
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_killed_worker_goes_on_at_the_last_checkpoint(
    tmp_path: Path, known: None, cluster: None
) -> None:
    ray_train.run("toy", toy.Config(out=str(tmp_path / "two"), die_at=5), workers=2)
    assert (tmp_path / "two" / "died").exists()
    toy.main(toy.Config(out=str(tmp_path / "one")))
    rows = [read(tmp_path / name / "log.jsonl") for name in ("one", "two")]
    assert [row["step"] for row in rows[1]] == [1, 2, 3, 4, 5, 6]
    for mine, theirs in zip(*rows, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
    found = newest(tmp_path / "two")
    assert found is not None and found.step == 6


@pytest.mark.slow
def test_more_workers_than_there_are_cpus_is_said_at_once(
    tmp_path: Path, known: None, cluster: None
) -> None:
    with pytest.raises(UserError, match="3 workers need a CPU each, and the cluster has 2"):
        ray_train.run("toy", toy.Config(out=str(tmp_path)), workers=3)


def test_without_ray_the_error_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "from grand_pipeline.errors import MissingDependencyError\n"
        "from training import ray_train\n"
        "try: ray_train.run('xvlm', None, workers=2)\n"
        "except MissingDependencyError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert "pip install 'grand-pipeline[ray-train]'" in done.stdout, done.stderr
