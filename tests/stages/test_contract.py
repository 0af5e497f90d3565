"""What every stage of the catalogue and every preset must keep to."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import itertools
import pickle
from pathlib import Path
from typing import Any

import pytest

from grand_pipeline import settings
from grand_pipeline.catalog import STAGES, stage_class
from grand_pipeline.columns import COLUMNS, IMPORTED, Column, Family
from grand_pipeline.stage import Stage

ROOT = Path(__file__).parents[2]
PICTUREBOOK = {stage.key: stage for stage in settings.stages(settings.load_preset("picturebook"))}


def test_the_catalogue_lists_every_stage_file() -> None:
    classes = {
        f"stages.{path.parent.name}.{path.stem}:{name}"
        for path in (ROOT / "stages").glob("level*/*.py")
        for name, member in vars(
            importlib.import_module(f"stages.{path.parent.name}.{path.stem}")
        ).items()
        if inspect.isclass(member)
        and issubclass(member, Stage)
        and member.__module__ == f"stages.{path.parent.name}.{path.stem}"
    }
    assert classes == set(STAGES.values())


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_a_frozen_described_dataclass_named_like_its_file(name: str) -> None:
    cls = stage_class(name)
    assert cls.name() == name
    assert cls.__module__ == f"stages.level{cls.level}.{name}"
    assert dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen
    assert cls.__doc__ and not cls.__doc__.startswith(f"{cls.__name__}("), "write a docstring"
    assert cls.__bases__[0] is Stage, "inheritance is one deep"


@pytest.mark.parametrize("name", STAGES)
def test_every_option_has_a_doc_string(name: str) -> None:
    cls = stage_class(name)
    documented = {option for base in cls.__mro__ for option in _documented(base)}
    own = {f.name for f in dataclasses.fields(cls)} - {f.name for f in dataclasses.fields(Stage)}
    assert own <= documented


@pytest.mark.parametrize("key", PICTUREBOOK)
def test_declared_columns_are_those_of_the_data_dictionary(key: str) -> None:
    stage: Stage[Any] = PICTUREBOOK[key]
    for read in stage.reads:
        assert any(read is column for column in COLUMNS) or _is_member(read)
    for written in stage.writes:
        assert any(written is column for column in COLUMNS) or _is_member(written)
    assert stage.writes


@pytest.mark.parametrize("key", PICTUREBOOK)
def test_a_description_travels_and_hashes(key: str) -> None:
    stage = PICTUREBOOK[key]
    # Ray pickles a stage to send it to a worker; nothing of ours is stored that way.
    assert pickle.loads(pickle.dumps(stage)) == stage
    assert hash(stage) == hash(dataclasses.replace(stage))
    assert stage.options().keys().isdisjoint(stage.operational)


def test_every_column_has_one_writer_in_the_default_preset() -> None:
    written = [column.name for stage in PICTUREBOOK.values() for column in stage.writes]
    assert len(written) == len(set(written))
    for column in COLUMNS:
        if column in IMPORTED:
            continue
        names = [n for n in written if n == column.name or n.startswith(f"{column.name}.")]
        assert names, f"nobody writes {column.name}"


def _documented(cls: type[Any]) -> set[str]:
    """The fields in a class's own body that have a doc string below them."""
    if not dataclasses.is_dataclass(cls) or cls is Stage:
        return set()
    body = next(n for n in ast.parse(inspect.getsource(cls)).body if isinstance(n, ast.ClassDef))
    return {
        field.target.id
        for field, doc in itertools.pairwise(body.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(doc, ast.Expr)
        and isinstance(doc.value, ast.Constant)
        and isinstance(doc.value.value, str)
    }


def _is_member(read: Column[Any] | Family[Any]) -> bool:
    return isinstance(read, Column) and any(
        isinstance(family, Family) and read == family.of(family.source(read.name))
        for family in COLUMNS
        if isinstance(family, Family) and family.owns(read.name)
    )
