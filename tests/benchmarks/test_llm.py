"""The benchmark runs and says what outside checks read; how fast it is stands nowhere here."""

from __future__ import annotations

import json

import pytest

from benchmarks import llm, llm_server


def test_json_names_use_and_memory(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llm, "WAVES", 2)
    monkeypatch.setattr(
        "sys.argv", ["llm", "-n", "9", "--concurrency", "3", "--seconds", "0.01", "--json"]
    )
    llm.main()
    report = json.loads(capsys.readouterr().out)
    assert (report["prompts"], report["prompts_timed"], report["concurrency"]) == (9, 6, 3)
    assert 0 < report["concurrency_used"] <= report["concurrency_used_one_worker"] <= 1
    assert report["concurrency_used"] <= report["concurrency_used_3_workers"] <= 1
    assert report["growth_mb"] >= 0


def test_answers_take_about_as_long_as_asked() -> None:
    times = [llm_server.duration(f"question {n}", 2.0) for n in range(500)]
    assert all(1.0 <= time <= 3.0 for time in times)
    assert sum(times) / len(times) == pytest.approx(2.0, rel=0.05)
