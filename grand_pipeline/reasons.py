"""Why a fragment is stale, in words: what differs between what made it and what is wanted now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from grand_pipeline import weights

PARTIAL = "some of its images are still to come"
LISTING = "the list of images changed"
PATHS = "a picture was moved or renamed, so rows have another uri"

_PARTS = {"weights": "weights of", "prompts": "prompt", "parents": "parent"}
_SHOWN = 80
"""Letters of an option's value that a reason shows."""


def differences(old: str, new: str) -> list[str]:
    """What differs between two identities, one line each: why a fragment is stale."""
    before, after = json.loads(old or "{}"), json.loads(new)
    lines: list[str] = []
    for part, value in after.items():
        earlier = before.get(part)
        if isinstance(value, dict) and isinstance(earlier, dict):
            names = [n for n in sorted({*value, *earlier}) if value.get(n) != earlier.get(n)]
            lines += [_difference(part, name, earlier, value) for name in names]
        elif value != earlier:
            lines.append(f"{part}: {earlier!r} -> {value!r}")
    return lines


def parents_changed(made_from: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """`differences` of what was made from many steps and keeps nothing but their fingerprints."""
    keys = [key for key in sorted({*made_from, *wanted}) if made_from.get(key) != wanted.get(key)]
    return [_difference("parents", key, dict(made_from), dict(wanted)) for key in keys]


def _difference(part: str, name: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    if part == "options":
        return f"option {name}: {_change(old.get(name), new.get(name))}"
    if name not in old:
        return f"{_PARTS[part]} {name} added"
    if name not in new:
        return f"{_PARTS[part]} {name} no longer used"
    lost = part == "weights" and weights.is_absent(new[name])
    return f"{_PARTS[part]} {name} {'are not on this machine' if lost else 'changed'}"


def _change(old: Any, new: Any) -> str:
    """Both values; of long lists what came and what went."""
    texts = repr(old), repr(new)
    if max(map(len, texts)) <= _SHOWN:
        return " -> ".join(texts)
    if not (isinstance(old, list) and isinstance(new, list)):
        return " -> ".join(text[:_SHOWN] + "..." * (len(text) > _SHOWN) for text in texts)
    moves = {
        "with": [item for item in new if item not in old],
        "without": [item for item in old if item not in new],
    }
    told = [f"{word} {_some(items)}" for word, items in moves.items() if items]
    what = ", ".join(told) or "in another order, or some more than once"
    return f"{len(old)} -> {len(new)} items, {what}"


def _some(items: list[Any]) -> str:
    more = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return ", ".join(repr(item)[:_SHOWN] for item in items[:3]) + more
