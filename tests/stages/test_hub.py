from functools import partial
from pathlib import Path

import pytest

from grand_pipeline.errors import MissingDependencyError, SettingsError
from stages import detector, hub, sam
from tests.tiny.checkpoints import checkpoint, clip, owl_vit, siglip


def test_model_is_float32_and_in_evaluation_mode(tmp_path: Path) -> None:
    half, _ = clip()
    half.half().save_pretrained(tmp_path)
    model = hub.pretrained("AutoModel", str(tmp_path), "cpu")
    assert not model.training
    assert {str(weight.dtype) for weight in model.parameters()} == {"torch.float32"}


def test_folder_without_a_checkpoint_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"folder with config\.json and weights"):
        hub.pretrained("AutoModel", str(tmp_path), "cpu")
    model, _ = clip()
    model.config.save_pretrained(tmp_path)
    with pytest.raises(MissingDependencyError, match="give the folder of a checkpoint"):
        hub.pretrained("AutoModel", str(tmp_path), "cpu")
    with pytest.raises(SettingsError, match="does not exist"):
        hub.pretrained("AutoModel", str(tmp_path / "nowhere"), "cpu")


def test_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can not be loaded as"):
        hub.pretrained("AutoModelForDepthEstimation", checkpoint(clip), "cpu")
    with pytest.raises(SettingsError, match="is of type clip"):
        sam.load(checkpoint(clip), "cpu")
    with pytest.raises(SettingsError, match="can not be loaded as"):
        detector.load(checkpoint(clip), "cpu")


def test_damaged_weights_are_one_clear_error(tmp_path: Path) -> None:
    model, _ = siglip()
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(SettingsError, match="can not be loaded as AutoModel"):
        hub.pretrained("AutoModel", str(tmp_path), "cpu")


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    model, _ = siglip()
    model.config.save_pretrained(tmp_path)
    other, _ = owl_vit()
    other.save_pretrained(tmp_path / "other")
    (tmp_path / "other" / "model.safetensors").rename(tmp_path / "model.safetensors")
    with pytest.raises(SettingsError, match="tensors are missing"):
        hub.pretrained("AutoModel", str(tmp_path), "cpu")


@pytest.mark.parametrize("auto", ["AutoProcessor", "AutoImageProcessor"])
def test_images_are_prepared_by_pillow_even_where_torchvision_is_installed(auto: str) -> None:
    found = hub.preprocessor(auto, checkpoint(clip))
    images = getattr(found, "image_processor", found)
    assert type(images).__name__ == "CLIPImageProcessorPil"


def test_a_missing_package_is_named_with_the_way_to_install_it() -> None:
    def load(error: ImportError) -> None:
        raise error

    needs = ImportError("\nSomeProcessor requires the Torchvision library but it was not found.\n")
    for error, name in ((needs, "torchvision"), (ImportError("no", name="timm"), "timm")):
        with pytest.raises(MissingDependencyError, match=f"`pip install {name}`"):
            hub._explained(partial(load, error), "some/model", "AutoProcessor")
    with pytest.raises(MissingDependencyError, match=r"not installed: no\.$"):
        hub._explained(partial(load, ImportError("no")), "some/model", "AutoProcessor")
