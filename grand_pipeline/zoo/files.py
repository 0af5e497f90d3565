"""Published weights that are a file at an address rather than a repository of the hub."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedFile:
    """A `.pth` file, where its authors put it, and what is known of its content."""

    name: str
    url: str
    bytes: int | None = None
    """Its exact length; None where nobody here knows it."""
    sha256: str | None = None
    """Of its content; None where nobody here knows it."""


_SAM = "https://dl.fbaipublicfiles.com/segment_anything"
_RAM = "https://huggingface.co/xinyu1205/recognize_anything_model/resolve/main"
_RAM_PLUS = "https://huggingface.co/xinyu1205/recognize-anything-plus-model/resolve/main"
_MDETR = "https://zenodo.org/records/4721981/files"

FILES: tuple[PublishedFile, ...] = (
    PublishedFile(
        "sam_vit_b_01ec64.pth",
        f"{_SAM}/sam_vit_b_01ec64.pth",
        375_042_383,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    PublishedFile(
        "sam_vit_l_0b3195.pth",
        f"{_SAM}/sam_vit_l_0b3195.pth",
        1_249_524_607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    PublishedFile(
        "sam_vit_h_4b8939.pth",
        f"{_SAM}/sam_vit_h_4b8939.pth",
        2_564_550_879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
    PublishedFile("tag2text_swin_14m.pth", f"{_RAM}/tag2text_swin_14m.pth"),
    PublishedFile("ram_swin_large_14m.pth", f"{_RAM}/ram_swin_large_14m.pth"),
    PublishedFile(
        "ram_plus_swin_large_14m.pth",
        f"{_RAM_PLUS}/ram_plus_swin_large_14m.pth",
        3_010_210_801,
        "497c178836ba66698ca226c7895317e6e800034be986452dbd2593298d50e87d",
    ),
    *(
        PublishedFile(name, f"{_MDETR}/{name}?download=1")
        for name in (
            "refcocog_EB3_checkpoint.pth",
            "pretrained_EB3_checkpoint.pth",
            "pretrained_EB5_checkpoint.pth",
            "pretrained_resnet101_checkpoint.pth",
        )
    ),
)
"""The files that stages load by path; each has to keep its name to be known again."""

BY_NAME = {file.name: file for file in FILES}
