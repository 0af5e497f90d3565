"""Prompts of the language-model stages: text files, reviewed like code.

A prompt is a folder `prompts/<stage>/<variant>/` with `system.txt`, `user.txt` (a template with
fields in braces, such as `{graph}`) and `examples.toml` (in-context examples: an `[[example]]`
table with a value for every field, and the `answer`).
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from grand_pipeline.errors import SettingsError, suggest

FOLDER = Path(__file__).parent
FILES = ("system.txt", "user.txt", "examples.toml")
Message = dict[str, str]
"""One turn of a chat: `role` ("system", "user", "assistant") and `content`."""

_FIELD = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Example:
    """One in-context example: a value for every field of the template, and the answer."""

    fields: tuple[tuple[str, str], ...]
    answer: str


@dataclass(frozen=True)
class Prompt:
    """A loaded prompt; `user` is the template of the last turn and of every example."""

    name: str
    system: str
    user: str
    examples: tuple[Example, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the template's fields, in the order of their first use."""
        return tuple(dict.fromkeys(_FIELD.findall(self.user)))


def available() -> tuple[str, ...]:
    """Names of all prompts, sorted."""
    folders = (path.parent for path in FOLDER.glob("*/*/user.txt"))
    return tuple(sorted(str(folder.relative_to(FOLDER)) for folder in folders))


@lru_cache(maxsize=64)
def load(name: str) -> Prompt:
    """The prompt `stage/variant`.

    Raises SettingsError for an unknown name, a missing file, or an example whose fields are not
    exactly those of the template.
    """
    system, user, examples = (text.strip("\n") for text in _read(name))
    prompt = Prompt(name, system, user, ())
    tables = tomllib.loads(examples).get("example", [])
    return Prompt(name, system, user, tuple(_example(prompt, table) for table in tables))


def render(prompt: Prompt, **fields: str) -> list[Message]:
    """The chat messages: system, a user and an assistant turn per example, the last user turn.

    Raises SettingsError naming every missing or unknown field.
    """
    messages = [{"role": "system", "content": prompt.system}] if prompt.system else []
    for example in prompt.examples:
        messages.append({"role": "user", "content": _filled(prompt, dict(example.fields))})
        messages.append({"role": "assistant", "content": example.answer})
    return [*messages, {"role": "user", "content": _filled(prompt, fields)}]


def digest(name: str) -> str:
    """Identity of a prompt's text: a hash of its files. Raises SettingsError like `load`."""
    total = hashlib.sha256()
    for file, text in zip(FILES, _read(name), strict=True):
        total.update(f"{file}\0{len(text)}\0{text}".encode())
    return f"sha256:{total.hexdigest()[:32]}"


def _read(name: str) -> tuple[str, ...]:
    """The texts of a prompt's files, in the order of `FILES`."""
    if name not in available():
        raise SettingsError(f"no prompt is called '{name}'.{suggest(name, available())}")
    missing = [file for file in FILES if not (FOLDER / name / file).is_file()]
    if missing:
        raise SettingsError(f"prompt '{name}' lacks {', '.join(missing)} in prompts/{name}")
    return tuple((FOLDER / name / file).read_text(encoding="utf-8") for file in FILES)


def _example(prompt: Prompt, table: Mapping[str, str]) -> Example:
    if "answer" not in table:
        raise SettingsError(f"an example of prompt '{prompt.name}' has no 'answer'")
    fields = {key: value.strip("\n") for key, value in table.items() if key != "answer"}
    _check(prompt, fields)
    return Example(tuple(sorted(fields.items())), table["answer"].strip("\n"))


def _filled(prompt: Prompt, fields: Mapping[str, str]) -> str:
    _check(prompt, fields)
    return _FIELD.sub(lambda match: fields[match.group(1)], prompt.user)


def _check(prompt: Prompt, fields: Mapping[str, str]) -> None:
    missing = [name for name in prompt.fields if name not in fields]
    extra = [name for name in fields if name not in prompt.fields]
    if missing or extra:
        said = [f"missing {missing}"] * bool(missing) + [f"unknown {extra}"] * bool(extra)
        raise SettingsError(
            f"fields of prompt '{prompt.name}': {' and '.join(said)}; "
            f"its user.txt has {list(prompt.fields)}"
        )
