"""The model table as the reference page shows it."""

from __future__ import annotations

from collections.abc import Iterator

from grand_pipeline.zoo import Model, query

HEAD = ("name", "model", "licence", "parameters", "disk", "class", "verified", "remarks")

INTRODUCTION = """
Published models that the stages load, by what they do. A preset names one by its hub id, by the
path of its file, or as it stands here; any other checkpoint of the same classes will do, by hub id
or folder.

`grand models check --preset NAME` says which of a preset's models are on this machine, `grand
models pull --preset NAME` fetches the others: of a repository only what is loaded, safetensors
where there are any, into Hugging Face's cache (`HF_HOME`); published files to the path that names
them; spaCy pipelines by `spacy download`. What was cut short goes on where it stopped, and is
checked where a checksum is known. The commit of a repository is noted, and builds take that one
until the next `pull`; to choose it yourself write `owner/name@revision`. A build fetches what is
missing before it begins, apart from packages. With `HF_HUB_OFFLINE=1` nothing is ever fetched.

**No model of this page was ever run with its real weights by this project.** There was no way to
fetch them where it was made. What was done instead stands under *verified*:

- *tiny end to end*: the real class with a few thousand random weights went through every step,
  from the image to the column, in the tests.
- *published size on the meta device*: the class was built with the published sizes, without memory
  for its weights, and the parameters counted are those of the table.
- *ported, checked against the published layout*: the architecture is written anew here; names and
  shapes of all weights are those of the published files.

*Parameters* are all of the checkpoint's, shared ones once. *Disk* is about what has to be fetched.
*Licence* is that of the weights, with where it was read, or *not checked*: ask the authors' page
before you build on it.
"""


def sections() -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """Every role with the rows of its table."""
    for role in query.roles():
        yield role, [_row(row) for row in query.of_role(role) if row.role == role]


def _row(row: Model) -> tuple[str, ...]:
    seen = row.licence_seen or "not checked"
    return (
        row.name,
        f"`{row.hub_id}`" if row.hub_id else "a file",
        f"{row.licence} ({seen})",
        f"{row.parameters:,}".replace(",", " ") if row.parameters else "not counted",
        size(disk) if (disk := query.disk(row)) else "unknown",
        f"`{row.architecture}`" if row.architecture else "",
        row.verified,
        row.note,
    )


def size(count: int) -> str:
    """Bytes in words, by thousands."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
