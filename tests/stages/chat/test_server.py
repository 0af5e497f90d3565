"""How servers are reached; the ways in which they fail are in `test_endpoint`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.llm_server import MODEL, FakeServer
from stages.chat.retry import Backoff
from stages.chat.server import Line, Server


@pytest.mark.parametrize("steps", range(0, 24, 3))
def test_what_is_overdue_at_any_moment_stands_in_nobody_s_way(steps: int) -> None:
    """A process that was paused between a connection's making and its use once got no answer
    through that connection any more: each later request timed out, attempt after attempt."""

    async def pausing(step: int, server: Server) -> list[Mapping[str, Any]]:
        async def pause() -> None:
            for _ in range(step):
                await asyncio.sleep(0)
            time.sleep(1.2 * server.timeout)

        async with Line(server) as line:
            paused = asyncio.create_task(pause())
            found = [await line.request("/models") for _ in range(2)]
            await paused
        return found

    with FakeServer() as fake:
        for step in range(steps, steps + 3):
            server = Server(fake.url, MODEL, timeout=0.1, backoff=Backoff(3, 0.001, 0.002))
            for given in asyncio.run(pausing(step, server)):
                assert given["data"][0]["id"] == MODEL
