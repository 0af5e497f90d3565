"""Language models that answer chats: one interface, run in this process or by a server."""

from __future__ import annotations

from stages.chat.ask import Effort, asking, describe
from stages.chat.dialog import Dialog, Request, hold
from stages.chat.endpoint import EndpointChat
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
from stages.chat.local import TransformersChat, load
from stages.chat.options import (
    Asking,
    effort,
    live,
    models,
    questions,
    row,
    told,
)
from stages.chat.server import Server
from stages.chat.serving import OPERATIONAL, Serving, served

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
    "Dialog",
    "Effort",
    "EndpointChat",
    "Request",
    "Server",
    "Serving",
    "TransformersChat",
    "asking",
    "describe",
    "effort",
    "hold",
    "judged",
    "live",
    "load",
    "models",
    "questions",
    "row",
    "served",
    "told",
]
