"""Which image of a shard kills its workers: found by narrowing down, and given up for its own row.

A dead worker has noted which images it had in work. These are suspects: they are annotated apart,
in eighths, each on a worker that may die of it, until the one at fault is alone; everything else
of the shard goes on together, and what has been annotated is kept (a partial fragment). Eighths and
not halves, because every further death costs a process and the loading of a model, while a smaller
part costs next to nothing.

A death need not be an image's fault: nodes go, and a system short of memory kills whom it likes. So
an image is given up only when it has killed twice, alone; three times where the process said
nothing, as after a SIGKILL from outside. A death with no image in work is never held against one.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from grand_pipeline.errors import WorkerError
from grand_pipeline.lastwords import Words
from grand_pipeline.schedule import Task

_PIECES = 8
_TOLD, _SILENT = 2, 3
"""Deaths alone with an image after which it is given up."""
_UNEXPLAINED = 3
"""Deaths on a shard with no image in work, after which the run stops."""
_HOPELESS = 5
"""Images that a stage may kill its workers with before it has annotated a single one."""
_SILENCE = (
    "WorkerDied: the worker's process ended without a word, {times} times alone with this image: "
    "by os._exit, or by SIGKILL, which a system sends that is short of memory"
)


@dataclass(frozen=True)
class Turn:
    """What a worker is to do of a shard now."""

    only: tuple[int, ...] | None = None
    """Places of the images to annotate; None for all that are still to come."""
    given_up: Mapping[int, str] = field(default_factory=dict)
    """Place -> why an image gets an error instead."""


WHOLE = Turn()
"""All that is still to come, as ever."""


class Ladder:
    """What the deaths of a run have shown so far, and what follows for each task.

    `fruitful` are stages that have annotated images before.
    """

    def __init__(self, fruitful: Iterable[str] = ()) -> None:
        self._suspects: dict[Task, Suspects] = {}
        self._fruitful = set(fruitful)
        self._given_up: Counter[str] = Counter()

    def turn(self, task: Task) -> Turn:
        """What its next worker is to do."""
        return self._suspects[task].turn if task in self._suspects else WHOLE

    def survived(self, task: Task, *, pending: int, fruitful: bool) -> bool:
        """The turn was done, `fruitful` if an image has values; whether the whole task is."""
        if fruitful:
            self._fruitful.add(task.step)
        if pending:
            self._suspects[task].survived()
        else:
            self._suspects.pop(task, None)
        return not pending

    def died(self, task: Task, words: Words, said: str) -> None:
        """The worker died, of which Ray `said` something.

        Raises WorkerError when another attempt would end alike: deaths that no image can be blamed
        for, or a stage that dies of whatever it is given.
        """
        suspects = self._suspects.setdefault(task, Suspects())
        reason = suspects.died(words)
        if suspects.unexplained >= _UNEXPLAINED:
            raise WorkerError(
                f"worker of stage '{task.step}' died {_UNEXPLAINED} times on shard {task.shard}, "
                f"with no image in work ({words.cause or said}); see the Ray logs, then build "
                "again: committed shards are kept"
            )
        self._given_up[task.step] += reason is not None
        if self._given_up[task.step] >= _HOPELESS and task.step not in self._fruitful:
            raise WorkerError(
                f"stage '{task.step}' has killed its worker with each of the first {_HOPELESS} "
                f"images ({reason or words.cause}); something other than the images must be wrong"
            )


class Suspects:
    """What the deaths on one (step, shard) have shown so far, and what follows."""

    def __init__(self) -> None:
        self._groups: deque[tuple[int, ...]] = deque()
        self._alone: Counter[int] = Counter()
        self._given_up: dict[int, str] = {}
        self.unexplained = 0
        """Deaths with no image in work."""

    @property
    def turn(self) -> Turn:
        """What is to be annotated next: suspects first, then all that is left."""
        return Turn(self._groups[0] if self._groups else None, dict(self._given_up))

    def survived(self) -> None:
        """The last turn was done."""
        if self._groups:
            self._groups.popleft()

    def died(self, words: Words) -> str | None:
        """The worker of the last turn died; returns the reason if an image is given up for it."""
        group = self._groups[0] if self._groups else None
        among = tuple(i for i in words.images if i not in self._given_up)
        if not among:
            self.unexplained += 1
            return None
        if group is not None and len(group) == 1:
            return self._killed(group[0], words)
        self.survived()
        rest = tuple(i for i in group or () if i not in among)
        self._groups.extendleft(reversed([*_pieces(among), *([rest] if rest else [])]))
        return None

    def _killed(self, image: int, words: Words) -> str | None:
        self._alone[image] += 1
        times = self._alone[image]
        if times < (_TOLD if words.sure else _SILENT):
            return None
        self.survived()
        self._given_up[image] = words.cause or _SILENCE.format(times=times)
        return self._given_up[image]


def _pieces(images: Sequence[int]) -> list[tuple[int, ...]]:
    size = -(-len(images) // _PIECES)
    return [tuple(images[start : start + size]) for start in range(0, len(images), size)]
