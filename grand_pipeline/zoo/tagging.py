"""Taggers (`tags`): models of the RAM family, and SigLIP over a list of words."""

from __future__ import annotations

from grand_pipeline.zoo.model import Model

_ROLE = "image tagging"
_APACHE = "Apache-2.0"
_PORTED = "tiny end to end; ported, checked against the published layout and its sizes"
_TINY = "tiny end to end; published size on the meta device"

_LISTS = (
    "a `.pth` file, its list of tags and their thresholds, all given by path; in "
    "github.com/xinyu1205/recognize-anything: ram/data/ram_tag_list.txt, ram_tag_list_threshold.txt"
)
_WORDS = "any list of words; texts are encoded once, so a word costs one product per image"

TAGGING: tuple[Model, ...] = (
    Model(
        _ROLE,
        "Tag2Text, Swin-B (tag2text_swin_14m.pth)",
        "",
        _APACHE,
        107_111_133,
        _PORTED,
        "a `.pth` file and its list, ram/data/tag2text_ori_tag_list.txt: 3429 tags, some words "
        "twice; tagging alone, without the captioning branch",
        "stages.ram.Tagger",
    ),
    Model(
        _ROLE,
        "RAM, Swin-L (ram_swin_large_14m.pth)",
        "",
        _APACHE,
        212_117_045,
        _PORTED,
        f"4585 tags; {_LISTS}; the file has an optimizer and a captioning branch in it, 5.6 GB",
        "stages.ram.Tagger",
        stored=5_600_000_000,
    ),
    Model(
        _ROLE,
        "RAM++, Swin-L (ram_plus_swin_large_14m.pth)",
        "",
        _APACHE,
        329_493_046,
        _PORTED,
        f"4585 tags of 51 texts each; {_LISTS}",
        "stages.ram.Tagger",
    ),
    Model(
        _ROLE,
        "SigLIP B/16",
        "google/siglip-base-patch16-224",
        _APACHE,
        203_155_970,
        _TINY,
        _WORDS,
        "SiglipModel",
    ),
    Model(
        _ROLE,
        "SigLIP 2 B/16",
        "google/siglip2-base-patch16-224",
        _APACHE,
        375_187_970,
        _TINY,
        f"{_WORDS}; its tokenizer knows no limit, so the model's is used",
        "SiglipModel",
    ),
    Model(
        _ROLE,
        "SigLIP 2 So400m/14",
        "google/siglip2-so400m-patch14-384",
        _APACHE,
        1_136_008_498,
        _TINY,
        f"{_WORDS}; its tokenizer knows no limit, so the model's is used",
        "SiglipModel",
    ),
)
"""What `tags` loads, small ones first. The counts of the RAM family are those of tagging."""
