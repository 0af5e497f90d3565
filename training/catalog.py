"""Every recipe there is: name -> module. Adding a recipe is one module and one line here.

A recipe module has
- `Config`, a frozen dataclass. `data: str` (the run to learn from) and `out: str` (the folder of
  the training) have no default; `loop: state.Loop` and `optimizer: optim.AdamW` are tables. Its
  values stand in `training/configs/<name>/{tiny,paper}.toml`.
- `main(config)`, which reads from top to bottom and does the same alone, under torchrun and under
  Ray Train.
- `evaluate(checkpoint: Path, data: str, out: Path) -> dict[str, float]`: scores of the model that
  was trained into the folder `checkpoint`, on the run `data`; pictures go to the folder `out`.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from grand_pipeline.errors import SettingsError, suggest

RECIPES: dict[str, str] = {
    "densevlm": "training.recipes.densevlm",
    "groupvit": "training.recipes.groupvit",
    "xvlm": "training.recipes.xvlm",
}


def recipe(name: str) -> ModuleType:
    """The module of recipe `name`. Raises SettingsError for an unknown name."""
    if name not in RECIPES:
        raise SettingsError(f"no recipe is called '{name}'.{suggest(name, RECIPES)}")
    return importlib.import_module(RECIPES[name])
