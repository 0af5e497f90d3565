"""Files of annotations and predictions, changed at random: as JSON values, and as bytes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from tests.importers.raw_world import HEIGHT, WIDTH

Node = dict[str, Any] | list[Any]

ATOMS: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 3, -0.0, 0.5, 1e308, -3.3e38, float("nan"), float("inf")),
    *(2**31, 2**31 - 1, 2**53 + 1, 2**64, 10**30, -(10**30), 10**400),
    *("", " ", "1", "NaN", "dog", "\ud800", "\udcff.jpg", "\x00", "\u202egpj.exe", "e\u0301"),
    *("../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:9/x.jpg"),
    *("a" * 3000, "(" * 3000, "dog " * 800, "\u00e4 " * 1500),
    *([], {}, [[]], [None], {"": None}, [[0, 0]], [1, 2, 3, 4, 5, 6], [0.5] * 4, [9, 9, 3, 3]),
    *([-(10**9), -1, 10**9, 1], [float("nan")] * 4, [True] * 4, ["1", "2", "3", "4"], [1e400] * 4),
    {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]},
    {"size": [HEIGHT, WIDTH], "counts": [-1, HEIGHT * WIDTH + 1]},
    {"size": [HEIGHT, WIDTH], "counts": [10**12]},
    {"size": [10**12, 10**12], "counts": [10**24]},
    {"size": [2**31, 2], "counts": [2**32]},
    {"size": [3, 3], "counts": [4, 4]},
    {"size": [HEIGHT, WIDTH], "counts": "PPPPPPPPPPPPPPPP1"},
    {"size": [HEIGHT, WIDTH], "counts": "\u00e9"},
    {"size": [HEIGHT, WIDTH], "counts": "o" * 200},
    {"caption": "a dog", "details": [{"phrase": "a dog", "tokens_positive": [0, 5], "ids": [0]}]},
    [{"phrase": "dog", "tokens_positive": [-3, 10**20], "ids": [0, 0, 10**20]}],
)
"""What a value is replaced by: nothing of it is impossible in JSON as Python reads it."""

PIECES: tuple[bytes, ...] = (
    *(b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc3", b"\xed\xa0\x80", b'"', b"\\", b"\\ud800"),
    *(b"{", b"}", b"[", b"]", b",", b":", b"NaN", b"-Infinity", b"1e400", b"-0", b"1" * 5000),
    *(b"[" * 3000, b'{"a":' * 3000, b"/* */", b"'", b"\r", b"\n", b"null", b"true"),
)
"""What is put among the bytes of a file."""


def nodes(value: Any) -> Iterator[Node]:
    """The lists and objects in a value, itself first."""
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from nodes(inner)


def changed(value: Any, rng: Random) -> Any:
    """A copy with one to three changes anywhere in it."""
    found = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        node = rng.choice([n for n in nodes(found) if n] or [[]])
        if not node:
            break
        key: Any = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        rng.choice(_CHANGES)(node, key, rng, found)
    return found


def _replace(node: Any, key: Any, rng: Random, whole: Any) -> None:
    node[key] = copy.deepcopy(rng.choice(ATOMS))


def _delete(node: Any, key: Any, rng: Random, whole: Any) -> None:
    del node[key]


def _repeat(node: Any, key: Any, rng: Random, whole: Any) -> None:
    if isinstance(node, list):
        node.extend(copy.deepcopy(node[key]) for _ in range(rng.choice((1, 5, 200))))
    else:
        node[f"{key}{rng.choice(('', 's', '/..', chr(0xD800)))}"] = copy.deepcopy(node[key])


def _wrap(node: Any, key: Any, rng: Random, whole: Any) -> None:
    for _ in range(rng.choice((1, 1, 2, 60))):
        node[key] = [node[key]] if rng.random() < 0.5 else {"x": node[key]}


def _transplant(node: Any, key: Any, rng: Random, whole: Any) -> None:
    node[key] = copy.deepcopy(rng.choice(list(nodes(whole))))


def _rename(node: Any, key: Any, rng: Random, whole: Any) -> None:
    if isinstance(node, dict):
        node[str(rng.choice([a for a in ATOMS if isinstance(a, str)]))[:300]] = node.pop(key)


_CHANGES: tuple[Callable[[Any, Any, Random, Any], None], ...] = (
    *(_replace, _replace, _replace, _delete, _repeat, _wrap, _transplant, _rename),
)


def damaged(data: bytes, rng: Random) -> bytes:
    """The bytes with one change: some flipped, cut, put in, repeated, or all written otherwise."""
    at, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    piece = rng.choice(PIECES)
    ways: tuple[Callable[[], bytes], ...] = (
        lambda: data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :],
        lambda: data[:at] + piece + data[at:],
        lambda: data[:at] + piece + data[at + 1 :],
        lambda: data[:at] + data[min(end, at + 40) :],
        lambda: data[:at] + data[at:end] * 2 + data[end:],
        lambda: data[:at],
        lambda: data.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-32", "utf-7"))),
        lambda: b"\xef\xbb\xbf" + data,
    )
    return rng.choice(ways)()


def mutated(value: Any, rng: Random) -> bytes:
    """A file of JSON that holds a changed value, or changed bytes, or both."""
    said = changed(value, rng) if rng.random() < 0.7 else value
    data = json.dumps(said, ensure_ascii=True).encode()
    return damaged(data, rng) if said is value or rng.random() < 0.1 else data
