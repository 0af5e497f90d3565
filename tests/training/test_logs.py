"""The log of a training, and its pictures."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from training import plots
from training.logs import append, clock, cut, read, reporting

ROOT = Path(__file__).parents[2]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_rows_after_the_last_checkpoint_are_dropped(tmp_path: Path) -> None:
    for step in range(1, 5):
        append(tmp_path, {"step": step, "loss": 1 / step})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    cut(tmp_path, 3)
    assert [row["step"] for row in read(tmp_path / "log.jsonl")] == [1, 2, 3]
    assert read(tmp_path / "nothing") == []


def test_a_pipe_gets_lines_and_a_terminal_one_line(tmp_path: Path) -> None:
    for stream in (io.StringIO(), Terminal()):
        with reporting(tmp_path, 30, stream=stream) as report:
            report({"step": 10, "loss": 0.5})
            report({"step": 20, "loss": 0.25})
            report({"step": 20, "eval_recall": 0.75})
        text = stream.getvalue()
        if stream.isatty():
            assert text.count("\n") == 2 and "step 20 loss 0.25 of 30, 0:00 left" in text
            assert "eval_recall 0.75\n" in text
        else:
            assert text.splitlines() == [
                "step 10 loss 0.5", "step 20 loss 0.25", "step 20 eval_recall 0.75",
            ]  # fmt: skip
    assert len(read(tmp_path / "log.jsonl")) == 6


def test_durations_are_short_words() -> None:
    assert [clock(n) for n in (5, 65, 3725)] == ["0:05", "1:05", "1:02:05"]


def test_tensorboard_is_asked_for_by_name_where_it_is_missing(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['tensorboard'] = None\n"
        "from pathlib import Path\n"
        "from grand_pipeline.errors import MissingDependencyError\n"
        "from training.logs import reporting\n"
        "try:\n"
        f"    with reporting(Path({str(tmp_path)!r}), 3, tensorboard=True): pass\n"
        "except MissingDependencyError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert "pip install 'grand-pipeline[tensorboard]'" in done.stdout, done.stderr


def words(picture: str) -> str:
    return " ".join(node.text for node in ElementTree.fromstring(picture).iter() if node.text)


def test_losses_and_scores_are_drawn(tmp_path: Path) -> None:
    out = tmp_path / "a&b"
    out.mkdir()
    plots.write(out)
    assert not list(out.iterdir())
    for step in range(1, 101):
        append(out, {"step": step, "images": 8, "minutes": 0.1, "loss": 2 / step, "lr": 1e-3,
                     "images_per_second": 9.0, "wait": 0.1, "broken": float("nan")})  # fmt: skip
    append(out, {"step": 100, "minutes": 0.1, "eval_recall": 0.75})
    plots.write(out)
    losses, scores = ((out / name).read_text() for name in (plots.LOSSES, plots.SCORES))
    assert "a&b: terms of the loss" in words(losses) and "loss 0.02" in words(losses)
    assert "recall" not in words(losses) and "wait" not in words(losses)
    assert "recall 0.75" in words(scores) and "loss" not in words(scores)
