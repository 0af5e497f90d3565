"""The benchmark runs and says what it found; how fast models are stands nowhere here."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import models
from benchmarks.published import BUILDERS
from benchmarks.published.inputs import FEEDS
from benchmarks.published_sizes import parameters
from grand_pipeline.errors import UserError
from grand_pipeline.zoo import MODELS
from tests.stages.backends import WRITERS
from tests.tiny.checkpoints import Builder
from tests.tiny.vlms import florence2


def printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *given: str
) -> str:
    monkeypatch.setattr("sys.argv", ["models", "--seconds", "0", *given])
    models.main()
    return capsys.readouterr().out


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_miniatures_run_on_the_cpu(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    out = printed(capsys, monkeypatch, "--tiny", "--json", "--most", "2", "--dtype", dtype)
    report = json.loads(out)
    assert set(report["models"]) == set(models.TINY) and report["dtype"] == dtype
    for one in report["models"].values():
        assert one["batch"] in (1, 2) and one["images_per_second"] > 0
        assert one["gflop_per_image"] > 0 and one["parameters"] > 1000
        assert one["mfu"] is None and one["peak_gb"] is None, "there is no GPU"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_that_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = json.loads(printed(capsys, monkeypatch, "--json"))
    assert "no CUDA device" in report["skipped"]
    assert set(report["models"]) == {row.hub_id or row.name for row in MODELS}, "no row is silent"
    assert all(one["skipped"] for one in report["models"].values())
    assert printed(capsys, monkeypatch).startswith("skipped: no CUDA device")


def test_memory_that_is_full_ends_the_search() -> None:
    class Greedy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = torch.nn.Module()
            self.config.image_size = 8  # type: ignore[assignment]  # a stand-in
            self.weight = torch.nn.Parameter(torch.ones(3, 3))

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            if len(pixel_values) > 4:
                raise torch.OutOfMemoryError("full")
            return pixel_values.mean((2, 3)) @ self.weight

    Greedy.__name__ = "DPTForDepthEstimation"
    report = models.measure(Greedy, "cpu", "float32", 64, 0.0)
    assert report["batch"] in (1, 2, 4)


# The square of Florence-2 stands in no configuration, and the tiny one has another.
@pytest.mark.parametrize("build", [build for build in WRITERS if build is not florence2])
def test_models_that_write_are_fed_and_write(build: Builder) -> None:
    report = models.measure(lambda: build()[0], "cpu", "float32", 2, 0.0)
    assert report["batch"] in (1, 2) and report["gflop_per_image"] >= 0


def test_a_model_nobody_feeds_is_named() -> None:
    report = models.measure(lambda: torch.nn.Linear(1, 1), "cpu", "float32", 1, 0.0)
    assert report == {"skipped": "what to feed a Linear is not known"}


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(UserError, match=r"nothing builds 'facebook/sam-vit-bas'.*sam-vit-base"):
        models.run(["facebook/sam-vit-bas"], "bfloat16", 1, 0.0, tiny=False)


@pytest.mark.slow
@pytest.mark.parametrize("hub_id", sorted(BUILDERS))
def test_models_take_what_they_are_fed(hub_id: str) -> None:
    """On the meta device, where shapes are checked and nothing is computed."""
    _, kind = parameters(BUILDERS[hub_id])
    if kind not in FEEDS:
        pytest.skip(f"nothing feeds a {kind}")
    with torch.device("meta"):
        model = BUILDERS[hub_id]().eval()
    inputs = {name: value.to("meta") for name, value in FEEDS[kind](model.config, 1).items()}
    try:
        with torch.inference_mode(), torch.device("meta"):
            model(**inputs)
    except (RuntimeError, NotImplementedError) as error:
        if "meta" not in str(error):
            raise
        pytest.skip(f"looks at values, so far as it got: {error}")
