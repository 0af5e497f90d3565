"""What a stage is: a frozen description that can be loaded and then annotates records.

A stage *describes* (cheap, picklable, hashable, no torch); `load` makes it *live*. The declared
`reads` and `writes` are the edges of the plan, the schema of the fragment and a check at run time.

    @dataclass(frozen=True, kw_only=True)
    class Tags(Stage[Tagger]):
        source: str                      # makes it a family stage: one preset table per source
        model: str                       # hub id, folder, or "embedded:NAME"
        threshold: float = 0.5

A stage's name is the name of its file; its key adds the source: `tags.siglip`.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from grand_pipeline import weights
from grand_pipeline.columns import Column, Family
from grand_pipeline.record import Record

M = TypeVar("M")

Reads = tuple[Column[Any] | Family[Any], ...]
Writes = tuple[Column[Any], ...]
Row = Mapping[Column[Any], Any]
"""What `annotate` returns for one record: a value for each written column."""


@dataclass(frozen=True)
class Failed:
    """What `annotate` returns in place of a row where it can not annotate a record: why, and the
    values of written columns that are worth keeping all the same; the others are null."""

    reason: str
    kept: Row = field(default_factory=dict)


@dataclass(frozen=True)
class Resources:
    """What one worker of a stage needs, and how many workers a plan may start."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_gb: float = 1.0
    max_workers: int = 8
    cpu_will_do: bool = False
    """Whether `gpus` is a wish: where no node has one, the stage runs on its CPUs."""


@dataclass(frozen=True)
class Limits:
    """What an image may cost before it is given up, and when a worker is replaced."""

    image_seconds: float = 600.0
    """Longest time for an image, 0 for any; n images given at once may take n times as long."""
    memory_gb: float = 0.0
    """Main memory that a worker on CPUs may hold; 0: nine tenths of what its machine has."""
    growth_gb: float = 4.0
    """A worker that holds so much more than after its first shard makes room for a fresh one."""


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What a stage asks a language model about an image, so that its cost can be told before."""

    times: int = 1
    """Questions per image, or per object."""
    per_object: bool = False
    """Whether they are asked about every object."""
    frame: str = ""
    """Text of a question without what is the image's own."""
    graph: Column[str] | None = None
    """Column whose text stands in the question."""
    sees: bool = False
    """Whether the image is part of the question."""
    longest: int
    """Most tokens of an answer."""
    answers: Column[Any]
    """Column where the answers, or values as long as they are, are kept."""
    revised: bool = False
    """Whether an answer can be sent back to be revised."""


@dataclass(frozen=True, kw_only=True)
class Stage(abc.ABC, Generic[M]):
    """Base of all stages. Options are dataclass fields; every field is part of the fingerprint
    except those named in `operational`, which can not change what is written."""

    version: ClassVar[int] = 1
    level: ClassVar[int]
    operational: ClassVar[frozenset[str]] = frozenset(
        {"batch_size", "resources", "limits", "device", "compile"}
    )
    given: ClassVar[bool] = False
    """Whether its columns come from an import, so that nothing here can compute them again."""

    batch_size: int = 8
    """Images given to the model at once."""
    resources: Resources = Resources()
    """What one worker needs, and how many workers may run."""
    limits: Limits = Limits()
    """How long an image may take, how much a worker may hold, and when it is replaced."""
    device: str = "auto"
    """"cpu", "cuda", "cuda:1", or "auto": a GPU where the worker has been given one."""
    compile: bool = False
    """Have torch compile the layers of the stage's networks: minutes at the start of a worker, then
    faster. Needs a C++ compiler, on a GPU Triton too. What is rounded may come out differently."""

    @classmethod
    def name(cls) -> str:
        """The stage's name: that of its module."""
        return cls.__module__.rpartition(".")[2]

    @property
    def key(self) -> str:
        """Name in the plan and of the fragment folder: `name` or `name.source`."""
        source = getattr(self, "source", None)
        return f"{self.name()}.{source}" if source else self.name()

    @property
    @abc.abstractmethod
    def reads(self) -> Reads:
        """Columns and families that `annotate` looks at."""

    @property
    def mentions(self) -> Writes:
        """Columns that options name: the plan has to write them, yet an image may lack them."""
        return ()

    @property
    @abc.abstractmethod
    def writes(self) -> Writes:
        """Columns that every row of `annotate` holds."""

    @property
    def needs_image(self) -> bool:
        """Whether `annotate` looks at pixels; if so the worker decodes images ahead."""
        return True

    @property
    def whole_shards(self) -> bool:
        """Whether `annotate` is given all images of a shard at once, not `batch_size`, because it
        bounds by itself how many are in work."""
        return False

    @property
    def models(self) -> tuple[str, ...]:
        """Hub ids, folders or `embedded:` names whose content is part of the fingerprint."""
        model = getattr(self, "model", None)
        return (model,) if model else ()

    @property
    def prompts(self) -> tuple[str, ...]:
        """Names of folders under `prompts/` whose content is part of the fingerprint."""
        return ()

    @property
    def extras(self) -> tuple[str, ...]:
        """Extras of the package, such as "open-clip", that its options need."""
        towers = any(name.startswith(weights.OPEN_CLIP) for name in self.models)
        return ("open-clip",) if towers else ()

    @property
    def questions(self) -> Questions | None:
        """What it asks a language model, if it does."""
        return None

    @abc.abstractmethod
    def load(self, device: str) -> M:
        """The live model on `device` ("cpu", "cuda", "cuda:1"). Heavy imports belong here."""

    @abc.abstractmethod
    def annotate(self, model: M, records: Sequence[Record]) -> Sequence[Row | Failed]:
        """One row per record, in order, each with exactly the declared columns.

        An exception fails the batch; the worker then retries record by record, so that only the
        images at fault become error rows.
        """

    def options(self) -> dict[str, Any]:
        """The options that decide the content, as plain values for the fingerprint."""
        return {
            f.name: dataclasses.asdict(v)
            if dataclasses.is_dataclass(v := getattr(self, f.name)) and not isinstance(v, type)
            else v
            for f in dataclasses.fields(self)
            if f.name not in self.operational
        }
