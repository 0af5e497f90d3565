"""How well the client of language-model servers uses one, and how much memory it takes.

    python -m benchmarks.llm [-n 100000] [--concurrency 64] [--seconds 1.0] [--json]

Both parts ask a stand-in server (`benchmarks.llm_server`) in a process of its own as a stage does:
shard by shard, every prompt rendered, counted, sent and judged.

Use: the server works on `concurrency` questions at once, each of which takes from half to one and
a half times `seconds`. The sum of these times over `concurrency` is the best that any client can
do; `concurrency_used` is that as a share of the time measured. It is measured for one worker with
one shard of all the questions, and for several workers (threads here) that take shards of the
size that `grand build` makes: at a shard's end its worker runs out of questions, and the others
have to fill the gap.

Memory: the server answers at once, and `-n` questions with prompts of a few kilobytes are asked,
in such shards. `growth_mb` is how much the resident memory of this process grew between a tenth of
them and the end, at its peak.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.llm_server import MODEL, duration
from prompts import Prompt
from stages.chat import STOP, Effort, EndpointChat, Server, describe

WAVES = 64
"""How often the server is filled while its use is measured."""

SHARD = 256
"""Questions of a shard, as many as `grand build` puts into one."""

WORKERS = 3
"""Workers that share a server."""

LINES = 60
"""Lines of a question's scene graph."""

PROMPT = Prompt("benchmark", "Describe the picture.", "{graph}", ())


def measure(questions: int, concurrency: int, seconds: float) -> dict[str, Any]:
    """What `--json` prints."""
    count = WAVES * concurrency
    with serving(concurrency, seconds) as url:
        chat = client(url, concurrency)
        one = used(chat, count, count, 1, seconds)
        several = used(chat, count, SHARD, WORKERS, seconds)
    with serving(concurrency, 0.0) as url:
        memory = grown(client(url, concurrency), questions)
    return {
        "concurrency": concurrency,
        "server_seconds": seconds,
        "prompts_timed": count,
        "concurrency_used": min(one, several),
        "concurrency_used_one_worker": one,
        f"concurrency_used_{WORKERS}_workers": several,
        **memory,
    }


def used(chat: EndpointChat, count: int, shard: int, workers: int, seconds: float) -> float:
    """Share of the server's ideal concurrency that is used."""
    ask(chat, 0, chat.server.concurrency)
    with ThreadPoolExecutor(workers) as pool:
        begun = time.perf_counter()
        shards = ((start, min(shard, count - start)) for start in range(0, count, shard))
        for result in [pool.submit(ask, chat, *bounds) for bounds in shards]:
            result.result()
        wall = time.perf_counter() - begun
    ideal = sum(duration(graph(n), seconds) for n in range(count)) / chat.server.concurrency
    return round(ideal / wall, 4)


def grown(chat: EndpointChat, count: int) -> dict[str, Any]:
    """Resident memory while `count` questions are asked."""
    early, top = 0.0, 0.0
    begun, cpu = time.perf_counter(), time.process_time()
    for start in range(0, count, SHARD):
        ask(chat, start, min(SHARD, count - start))
        if start < count / 10:
            early = max(early, resident())
        top = max(top, resident())
    return {
        "prompts": count,
        "rss_mb_at_a_tenth": round(early, 1),
        "peak_rss_mb": round(top, 1),
        "growth_mb": round(top - early, 1),
        "client_ms_per_prompt": round(1000 * (time.process_time() - cpu) / count, 3),
        "seconds": round(time.perf_counter() - begun, 1),
    }


def ask(chat: EndpointChat, start: int, count: int) -> None:
    """Ask about the scene graphs of a shard and see that every question is answered."""
    graphs = [graph(start + n) for n in range(count)]
    told = describe(chat, PROMPT, graphs, Effort(256), MODEL)
    wrong = [one for one in told if one.finish_reason != STOP]
    if wrong:
        raise RuntimeError(f"{len(wrong)} of {count} failed, the first with {wrong[0]}")


def graph(number: int) -> str:
    """A scene graph of the usual size."""
    lines = [f"- group {line}: [{line}] thing {number} on [7] floor" for line in range(LINES)]
    return "\n".join([*lines, f"question {number}"])


def client(url: str, concurrency: int) -> EndpointChat:
    """The client as a stage would use it."""
    return EndpointChat(Server(url, MODEL, concurrency=concurrency), 8192)


def resident() -> float:
    """Memory of this process in MB, now."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * 4096 / 1e6


@contextmanager
def serving(slots: int, seconds: float) -> Iterator[str]:
    """The address of a stand-in server in another process."""
    command = [sys.executable, "-m", "benchmarks.llm_server"]
    command += ["--slots", str(slots), "--seconds", str(seconds)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


def text(report: dict[str, Any]) -> str:
    """The report for a reader."""
    return "\n".join(f"{name:<30}{value:>12}" for name, value in report.items())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-n", type=int, default=100_000, help="questions asked for the memory")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=1.0, help="the server's time per answer")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    report = measure(given.n, given.concurrency, given.seconds)
    print(json.dumps(report, indent=2) if given.json else text(report))


if __name__ == "__main__":
    main()
