"""Which row of the model table speaks of a model that a preset names, and how large it is."""

from __future__ import annotations

from grand_pipeline.errors import SettingsError, suggest
from grand_pipeline.zoo import MODELS, Model
from grand_pipeline.zoo.files import BY_NAME, FILES


def roles() -> tuple[str, ...]:
    """Every role once, in the order of the table."""
    return tuple(dict.fromkeys(model.role for model in MODELS))


def of_role(role: str) -> tuple[Model, ...]:
    """The rows whose role holds the words `role`. Raises SettingsError where there is none."""
    found = tuple(model for model in MODELS if role.casefold() in model.role.casefold())
    if not found:
        raise SettingsError(f"no model has the role '{role}'.{suggest(role, roles())}")
    return found


def known(model: str) -> Model | None:
    """The first row of what an option names: a hub id, with a revision or without, or the path of
    a published file, known by its name. None for a model of the user's own."""
    file = model.rpartition("/")[2]
    for row in MODELS:
        by_id = row.hub_id and row.hub_id in (model, model.partition("@")[0])
        if by_id or (file in BY_NAME and file in row.name):
            return row
    return None


def disk(row: Model) -> int | None:
    """Bytes to fetch: those of the published file where they are known, else about those of the
    row; None where nobody has an idea."""
    for file in FILES:
        if file.name in row.name and file.bytes is not None:
            return file.bytes
    return row.disk
