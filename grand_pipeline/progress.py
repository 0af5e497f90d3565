"""What a long run shows while it works: a live display on a terminal, plain lines when piped."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from grand_pipeline.terminal import Terminal

_REFRESH = 4  # redraws per second; more would only flicker
_QUIET = 2.0  # seconds between plain lines of one stage
_ROWS_LEFT = 6  # of the terminal, kept free below the display


class Outcome(Protocol):
    """A finished (step, shard): `rows` images, `failed` of them without result, `seconds` taken."""

    @property
    def step(self) -> str: ...
    @property
    def shard(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def seconds(self) -> float: ...


@dataclass(frozen=True)
class Event:
    """The plain form of an outcome."""

    step: str
    shard: str
    rows: int
    failed: int
    seconds: float


@dataclass
class StageState:
    """How far one stage is. `busy` sums the seconds of its finished shards."""

    total: int
    done: int = 0
    rows: int = 0
    failed: int = 0
    busy: float = 0.0
    printed: float = field(default=-_QUIET)

    @property
    def finished(self) -> bool:
        """Whether no shard is left."""
        return self.done >= self.total


class Progress:
    """Shows a run; a context manager.

    `live` draws bars in place and is the default on a terminal; without it every line stands
    alone and begins with the time of day. `clock` gives seconds.
    """

    def __init__(
        self,
        console: Console | None = None,
        *,
        live: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or Terminal(stderr=True)
        self._clock = clock
        self._stages: dict[str, StageState] = {}
        self._phase = ""
        self._began = clock()
        wanted = self._console.is_terminal if live is None else live
        self._live = (
            Live(
                get_renderable=self.render,
                console=self._console,
                refresh_per_second=_REFRESH,
                transient=True,
            )
            if wanted
            else None
        )

    def __enter__(self) -> Progress:
        self._began = self._clock()
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()
        if self._stages:
            self._say(self._summary(stopped=kind is not None))

    def phase(self, name: str) -> None:
        """Announce what happens now, for example "ingest"."""
        self._phase = name
        if not self._live:
            self._say(name)

    def begin(self, shards: Mapping[str, int]) -> None:
        """Set the work list: shards to do per stage, in the order of the display."""
        self._began = self._clock()
        self._stages = {name: StageState(total) for name, total in shards.items()}
        if not self._live:
            self._say(f"{len(shards)} stages, {sum(shards.values())} shards to do")

    def report(self, event: Outcome) -> None:
        """Count one finished shard of a stage. Stages that `begin` did not name are added."""
        state = self._stages.setdefault(event.step, StageState(0))
        state.done += 1
        state.total = max(state.total, state.done)
        state.rows += event.rows
        state.failed += event.failed
        state.busy += event.seconds
        if event.failed or not self._live:
            self._line(event, state)

    def _line(self, event: Outcome, state: StageState) -> None:
        """A plain line: at once for failures and finished stages, else not too often."""
        now = self._clock()
        if not (event.failed or state.finished or now - state.printed >= _QUIET):
            return
        state.printed = now
        parts = [
            f"{event.step} {state.done}/{state.total} shards",
            f"{rate(state)} images/s",
            f"{self.eta()} left",
        ]
        if event.failed:
            parts.append(f"{event.failed} of {event.rows} images failed in shard {event.shard}")
        self._say(", ".join(parts))

    def _say(self, words: str) -> None:
        stamp = datetime.now().strftime("%H:%M:%S")
        self._console.print(f"{stamp} {words}", markup=False, highlight=False, soft_wrap=True)

    def eta(self) -> str:
        """Time left if the shards that are left take as long as the ones that are done."""
        done = sum(state.done for state in self._stages.values())
        left = sum(state.total - state.done for state in self._stages.values())
        if not done:
            return "unknown time"
        return clock_text((self._clock() - self._began) / done * left)

    def _summary(self, *, stopped: bool) -> str:
        shards = sum(state.done for state in self._stages.values())
        failed = sum(state.failed for state in self._stages.values())
        took = clock_text(self._clock() - self._began)
        word = "stopped after" if stopped else "finished"
        tail = f", {failed} failures" if failed else ""
        return f"{word} {shards} shards of {len(self._stages)} stages in {took}{tail}"

    def render(self) -> RenderableType:
        """The live display: one bar per stage, and a line about the whole."""
        if not self._stages:
            return Text(f"{self._phase} ...")
        table = Table.grid(padding=(0, 1))
        hidden = 0
        for name, state in self._visible():
            color = "green" if state.finished else "cyan"
            failed = Text(f"{state.failed} failed", style="red") if state.failed else Text("")
            speed = f"{rate(state)} images/s" if state.done else ""
            bar = ProgressBar(
                max(state.total, 1),
                state.done,
                width=28,
                complete_style=color,
                finished_style=color,
            )
            table.add_row(name, bar, f"{state.done}/{state.total}", speed, failed)
        hidden = len(self._stages) - table.row_count
        took = clock_text(self._clock() - self._began)
        more = f"   {hidden} more stages" if hidden else ""
        return Group(table, Text(f"{self._phase}   {took} gone   {self.eta()} left{more}"))

    def _visible(self) -> list[tuple[str, StageState]]:
        """The stages that fit on the terminal: running first, then waiting, finished last."""
        room = max(1, self._console.height - _ROWS_LEFT)
        named = list(self._stages.items())
        if len(named) <= room:
            return named
        ranked = sorted(named, key=lambda item: (item[1].finished, not item[1].done))
        kept = {name for name, _ in ranked[:room]}
        return [item for item in named if item[0] in kept]


def rate(state: StageState) -> str:
    """Images per second of one worker of the stage."""
    if state.busy <= 0:
        return "-"
    value = state.rows / state.busy
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def clock_text(seconds: float) -> str:
    """Seconds as "42 s", "3:05" or "1:02:03"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    minutes, last = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{last:02d}" if hours else f"{minutes}:{last:02d}"
