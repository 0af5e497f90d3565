"""Language models that answer chats: one interface, run in this process or by a server."""

from __future__ import annotations

from stages.chat.ask import Effort, describe
from stages.chat.endpoint import EndpointChat, Server
from stages.chat.finish import judged
from stages.chat.interface import (
    GREEDY,
    LENGTH,
    STOP,
    TOO_LONG,
    Answer,
    Chat,
    Decoding,
)
from stages.chat.local import Dtype, TransformersChat, load
from stages.chat.options import OPERATIONAL, Asking, effort, live, models, told, usable

__all__ = [
    "GREEDY",
    "LENGTH",
    "OPERATIONAL",
    "STOP",
    "TOO_LONG",
    "Answer",
    "Asking",
    "Chat",
    "Decoding",
    "Dtype",
    "Effort",
    "EndpointChat",
    "Server",
    "TransformersChat",
    "describe",
    "effort",
    "judged",
    "live",
    "load",
    "models",
    "told",
    "usable",
]
