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
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from grand_pipeline.columns import Column, Family
from grand_pipeline.record import Record

M = TypeVar("M")

Reads = tuple[Column[Any] | Family[Any], ...]
Writes = tuple[Column[Any], ...]
Row = Mapping[Column[Any], Any]
"""What `annotate` returns for one record: a value for each written column."""


@dataclass(frozen=True)
class Resources:
    """What one worker of a stage needs, and how many workers a plan may start."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_gb: float = 1.0
    max_workers: int = 8


@dataclass(frozen=True, kw_only=True)
class Stage(abc.ABC, Generic[M]):
    """Base of all stages. Options are dataclass fields; every field is part of the fingerprint
    except those named in `operational`, which can not change what is written."""

    version: ClassVar[int] = 1
    level: ClassVar[int]
    operational: ClassVar[frozenset[str]] = frozenset({"batch_size", "resources", "device"})
    given: ClassVar[bool] = False
    """Whether its columns come from an import, so that nothing here can compute them again."""

    batch_size: int = 8
    """Images given to the model at once."""
    resources: Resources = Resources()
    """What one worker needs, and how many workers may run."""
    device: str = "auto"
    """"cpu", "cuda", "cuda:1", or "auto": a GPU where the worker has been given one."""

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
    def models(self) -> tuple[str, ...]:
        """Hub ids, folders or `embedded:` names whose content is part of the fingerprint."""
        model = getattr(self, "model", None)
        return (model,) if model else ()

    @property
    def prompts(self) -> tuple[str, ...]:
        """Names of folders under `prompts/` whose content is part of the fingerprint."""
        return ()

    @abc.abstractmethod
    def load(self, device: str) -> M:
        """The live model on `device` ("cpu", "cuda", "cuda:1"). Heavy imports belong here."""

    @abc.abstractmethod
    def annotate(self, model: M, records: Sequence[Record]) -> list[Row]:
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
