"""The progress display, with a clock that is moved by hand."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import pytest
from rich.console import Console

from grand_pipeline.progress import Event, Progress, clock_text


@dataclass
class Clock:
    """Seconds that pass only when told to."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def _console(terminal: bool = False, height: int = 30) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100, height=height)


def _written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _event(step: str, shard: int, failed: int = 0) -> Event:
    return Event(step, f"{shard:05d}", 64, failed, 2.0)


def test_plain_lines() -> None:
    console, clock = _console(), Clock()
    with Progress(console, clock=clock) as progress:
        progress.phase("annotate")
        progress.begin({"depth": 2, "tags": 2})
        clock.now = 10.0
        progress.report(_event("depth", 0))
        clock.now = 20.0
        progress.report(_event("depth", 1))
    lines = _written(console).splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)
    assert [line[9:] for line in lines] == [
        "annotate",
        "2 stages, 4 shards to do",
        "depth 1/2 shards, 32 images/s, 30 s left",
        "depth 2/2 shards, 32 images/s, 20 s left",
        "finished 2 shards of 2 stages in 20 s",
    ]


def test_plain_lines_do_not_flood() -> None:
    console, clock = _console(), Clock()
    with Progress(console, clock=clock) as progress:
        progress.begin({"depth": 1000})
        for shard in range(999):
            clock.now += 0.01
            progress.report(_event("depth", shard))
    assert 5 <= len(_written(console).splitlines()) <= 9


def test_failures_are_told_at_once() -> None:
    console, clock = _console(), Clock()
    with Progress(console, clock=clock) as progress:
        progress.begin({"depth": 9})
        progress.report(_event("depth", 0))
        progress.report(_event("depth", 1, failed=3))
    text = _written(console)
    assert "3 of 64 images failed in shard 00001" in text
    assert "3 failures" in text


def test_an_interrupted_run_says_so() -> None:
    console = _console()
    with pytest.raises(KeyboardInterrupt), Progress(console, clock=Clock()) as progress:
        progress.begin({"depth": 9})
        progress.report(_event("depth", 0))
        raise KeyboardInterrupt
    assert "stopped after 1 shards" in _written(console)


def test_without_work_there_is_no_summary() -> None:
    console = _console()
    with Progress(console, clock=Clock()):
        pass
    assert _written(console) == ""


def _rendered(progress: Progress, console: Console) -> list[str]:
    with console.capture() as captured:
        console.print(progress.render())
    return captured.get().splitlines()


def test_the_display_has_a_bar_per_stage() -> None:
    console, clock = _console(), Clock()
    progress = Progress(console, live=True, clock=clock)
    progress.phase("annotate")
    assert "annotate" in _rendered(progress, console)[0]
    progress.begin({"depth": 4, "tags": 4})
    clock.now = 8.0
    progress.report(_event("tags", 0, failed=1))
    lines = _rendered(progress, console)
    assert lines[0].startswith("depth") and "0/4" in lines[0]
    assert "1/4" in lines[1] and "32 images/s" in lines[1] and "1 failed" in lines[1]
    assert "8 s gone" in lines[2] and "56 s left" in lines[2]


def test_a_small_terminal_shows_the_stages_at_work() -> None:
    console = _console(height=9)
    progress = Progress(console, live=True, clock=Clock())
    progress.begin({f"stage{n}": 2 for n in range(10)})
    for shard in range(2):
        progress.report(_event("stage0", shard))
    progress.report(_event("stage7", 0))
    lines = _rendered(progress, console)
    assert [line.split()[0] for line in lines[:3]] == ["stage1", "stage2", "stage7"]
    assert "7 more stages" in lines[3]


def test_a_terminal_gets_the_live_display_and_is_left_clean() -> None:
    console = _console(terminal=True)
    with Progress(console, clock=Clock()) as progress:
        progress.begin({"depth": 1})
        progress.report(_event("depth", 0))
    text = _written(console)
    assert text.rstrip().endswith("finished 1 shards of 1 stages in 0 s")
    assert "\x1b[?25h" in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (185, "3:05"), (3723, "1:02:03")]
)
def test_clock_text(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text
