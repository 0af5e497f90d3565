"""A folder of pictures and a run of them whose stages note what they were called for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from grand_pipeline import accounts, build
from grand_pipeline.plan import Plan, make_plan
from grand_pipeline.store import Run
from tests.fakes import Brightness, Caption, Graph, annotate_all

IMAGES, SHARD = 6, 3
Calls = Counter[tuple[str, int]]


@dataclass(frozen=True, kw_only=True)
class Modelled(Brightness):
    """With weights and a prompt."""

    model: str = ""
    prompt: str = ""

    @property
    def prompts(self) -> tuple[str, ...]:
        return (self.prompt,) if self.prompt else ()


@dataclass(frozen=True)
class Bench:
    """A folder of pictures, a run of them, and the log of what stages were called for."""

    root: Path

    @property
    def pictures(self) -> Path:
        return self.root / "pictures"

    @property
    def run(self) -> Run:
        return Run(self.root / "run")

    @property
    def log(self) -> str:
        return str(self.root / "log")

    def plan(self, first: Brightness | None = None, second: Caption | None = None) -> Plan:
        """Brightness, its caption, and a graph of the caption."""
        return make_plan([first or self.brightness(), second or self.caption(), Graph()])

    def brightness(self, scale: float = 1.0) -> Brightness:
        return Brightness(log=self.log, scale=scale)

    def caption(self, word: str = "mean") -> Caption:
        return Caption(log=self.log, word=word)

    def modelled(self, model: Path) -> Plan:
        return self.plan(Modelled(log=self.log, model=str(model)))

    def ingest(self, shard_size: int = SHARD) -> None:
        build.add_images(self.run, [str(self.pictures)], shard_size)

    def build(self, plan: Plan | None = None) -> Calls:
        """Bring everything up to date; (step, how many images) of every call that this took."""
        log = Path(self.log)
        before = len(log.read_text().splitlines()) if log.exists() else 0
        annotate_all(self.run, plan or self.plan())
        lines = (line.split() for line in log.read_text().splitlines()[before:])
        return Counter((key, len(ids.split(","))) for key, ids in lines)

    def why(self, plan: Plan) -> dict[str, list[str]]:
        """Step -> why it is stale, of the stale ones."""
        report = accounts.report(self.run, plan, build.failed_images(self.run, plan))
        return {key: counts["why"] for key, counts in report["stages"].items() if "why" in counts}

    def uris(self) -> list[str]:
        """File names in the published rows."""
        return [Path(row.uri).name for row in self.run.annotations()]
