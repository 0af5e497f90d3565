"""Any sequence of commits, reverts, losses and damage leaves the store as a simple model says."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pyarrow as pa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from grand_pipeline import publication
from grand_pipeline.storage import Place
from grand_pipeline.store import Run
from tests import buckets
from tests.fakes import make_run

KEY, SHARDS = "step", ("00000", "00001")
prints = st.sampled_from(["aa", "bb", "cc"])
shards = st.sampled_from(SHARDS)


class StoreMachine(RuleBasedStateMachine):
    """The model of a shard: the content that is current and what is on the shelf."""

    def home(self) -> Place:
        return self.folder / "run"

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.run = make_run(self.folder, images=4, shard_size=2, at=self.home())
        self.current: dict[str, tuple[str, int] | None] = dict.fromkeys(SHARDS)
        self.shelf: dict[tuple[str, str], int] = {}
        self.attempt = 0

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule(shard=shards, fingerprint=prints)
    def commit(self, shard: str, fingerprint: str) -> None:
        self.attempt += 1
        ids = [row.image_id for row in self.run.shard_images(shard)]
        table = pa.table({"image_id": ids, "attempt": [self.attempt] * len(ids)})
        footer = {"fingerprint": fingerprint, "digest": self.run.shard_digest(shard)}
        committed = self.run.commit(KEY, shard, table, footer)
        now = self.current[shard]
        assert committed == (now is None or now[0] != fingerprint)
        if committed:
            self.put_aside(shard)
            self.current[shard] = (fingerprint, self.attempt)

    @rule(shard=shards, fingerprint=prints)
    def restore(self, shard: str, fingerprint: str) -> None:
        shelved = self.shelf.get((shard, fingerprint))
        assert self.run.restore(KEY, shard, fingerprint) == (shelved is not None)
        if shelved is not None:
            self.put_aside(shard)
            # A newer fragment of the same fingerprint takes the shelved one's place and comes back.
            self.current[shard] = (fingerprint, self.shelf.pop((shard, fingerprint)))

    @rule(shard=shards)
    def discard(self, shard: str) -> None:
        self.run.discard(KEY, shard)
        self.current[shard] = None

    @rule(shard=shards, keep=st.integers(0, 200))
    def damage(self, shard: str, keep: int) -> None:
        path = self.run.fragment(KEY, shard)
        if path.exists():
            buckets.write(path, path.read_bytes()[:keep])
            self.current[shard] = None

    @rule(shard=shards)
    def crash_while_writing(self, shard: str) -> None:
        path = self.run.fragment(KEY, shard)
        if isinstance(path, Path):  # In a bucket nothing is left of a put that was not finished.
            buckets.write(path.parent / f".tmp-{shard}-torn", b"PAR1")

    @rule()
    def begin_again(self) -> None:
        publication.sweep(self.run.root)
        self.run = Run.open(self.run.root)
        assert not list(self.folder.rglob(".tmp-*"))

    def put_aside(self, shard: str) -> None:
        now = self.current[shard]
        if now is not None:
            self.shelf[shard, now[0]] = now[1]

    @invariant()
    def the_store_is_as_the_model_says(self) -> None:
        for shard, now in self.current.items():
            for fingerprint in ("aa", "bb", "cc"):
                state = self.run.state(KEY, shard, fingerprint)
                if now is None:
                    assert state == "missing"
                else:
                    assert state == ("done" if now[0] == fingerprint else "stale")
            if now is not None:
                assert self.run.read(KEY, shard, ["attempt"]) == {"attempt": [now[1]] * 2}
        assert [len(self.run.shard_images(shard)) for shard in self.run.shards()] == [2, 2]


class BucketMachine(StoreMachine):
    """The same in a bucket."""

    def home(self) -> Place:
        return buckets.in_memory()


_SETTINGS = settings(derandomize=True, deadline=None, max_examples=25, stateful_step_count=20)
TestStore = StoreMachine.TestCase
TestStore.settings = _SETTINGS
TestBucket = BucketMachine.TestCase
TestBucket.settings = _SETTINGS
