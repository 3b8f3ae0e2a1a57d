"""Every number of a job, of a component and of a search space has bounds, and nonsense ends in one line."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel

from raytune_rec import cli, components, config
from raytune_rec.components import Family, component, options_of
from raytune_rec.errors import JobError, UserError
from raytune_rec.job import toml
from raytune_rec.job.sections import Section
from raytune_rec.tuning.search.space_files import compose

_FAMILIES: tuple[Family, ...] = ("backbones", "prompts", "objectives", "data.sources")
_COMPONENTS = [(family, name) for family in _FAMILIES for name in components.names(family)]
_TOML = """
name = "small"
[data]
source = "synthetic"
[backbone]
name = "deepfm"
[methods.single]
strategy = "single"
"""


def _numbers(annotation: Any, bounds: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The bounds of each number in a field's type, those inside lists and tables too, and in models below."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        yield from _numbers(inner, [*bounds, *more])
    elif annotation in (int, float):
        yield [limit for bound in bounds for limit in (bound, *getattr(bound, "metadata", ()))]
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for info in annotation.model_fields.values():
            yield from _numbers(info.annotation, info.metadata)
    else:
        for part in get_args(annotation):
            yield from _numbers(part, bounds if type(None) in get_args(annotation) else ())


def _unbounded(model: type[BaseModel], free: Sequence[str] = ()) -> list[str]:
    ends = ((Ge, Gt), (Le, Lt))
    return [
        name
        for name, info in model.model_fields.items()
        for bounds in _numbers(info.annotation, info.metadata)
        if name not in free and not all(any(isinstance(b, end) for b in bounds) for end in ends)
    ]


@pytest.mark.parametrize(("family", "name"), _COMPONENTS)
def test_every_number_of_a_component_has_bounds(family: Family, name: str) -> None:
    assert _unbounded(components.component(family, name).Options) == []


@pytest.mark.parametrize("section", Section.__subclasses__(), ids=lambda section: section.__name__)
def test_every_number_of_a_job_has_bounds(section: type[BaseModel]) -> None:
    """Flat options are checked where they are used."""
    assert _unbounded(section, ("options", "training", "methods", "pretrain", "pretrainings")) == []


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ("tune.trials=100000000000000000000", "integers lie between -2^63 and 2^63 (given: one of about 20 digits)."),
        ("training.epochs=10000000000000", "should be less than or equal to 100000 (given: 10000000000000)."),
        ("data.buckets=1000000000", "should be less than or equal to 10000 (given: 1000000000)."),
        ("tune.cpus=inf", "numbers are finite (given: inf)."),
        ("tune.gpus=nan", "numbers are finite (given: nan)."),
        ("evaluate.bootstrap=1e400", "numbers are finite (given: inf)."),
        ("pretrain.workers=100000", "should be less than or equal to 10000 (given: 100000)."),
        ("training.lr.default=1e39", "(given: 1e+39)."),
        ("seed=" + "9" * 400, "integers lie between -2^63 and 2^63 (given: one of about 400 digits)."),
        ("seed=" + "9" * 5000, "holds a number of thousands of digits; integers lie between"),
        ("seed=0x" + "f" * 5000, "integers lie between -2^63 and 2^63 (given: one of about 6020 digits)."),
        ("title=" + "[" * 5000, "nests more than 20 deep; write it flatter."),
        ("title=" + "[" * 300 + "]" * 300, "nests more than 20 deep"),
        ("title=" + "{a=" * 5000, "nests more than 20 deep"),
        ("a" + ".a" * 5000 + "=1", "no option lies so deep; write part.option=value."),
        ("title=" + "x" * 300, "should have at most 200 characters"),
        ("title=" + "x" * 10**5, "a text has at most 4000 characters (given: 100000)."),
        ("name=" + "x" * 300, "a job's name has letters"),
        ("data.sequences.tasks=['" + "9" * 300 + "-shot']", "a task of cold users is few"),
        ("methods.single.options={" + "a={" * 400 + "}" * 401, "nests more than 20 deep"),
    ],
)
def test_nonsense_in_a_setting_is_one_short_line(
    tmp_path: Path, setting: str, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "job.toml").write_text(_TOML)
    assert cli.main(["check", str(tmp_path / "job.toml"), "--set", setting]) == 2
    heard = capsys.readouterr().err
    assert rule in heard and heard.count("\n") == 1 and len(heard) < 600


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("x = " + "[" * 5000, "nests more than 20 deep"),
        ("x" + ".x" * 3000 + " = 1", "nests more than 20 deep"),
        ("x = " + "7" * 5000, "thousands of digits"),
        ("[space.k]\ntype = 'int'\nlow = 1\nhigh = " + "7" * 400, "space.k.high: integers lie between -2^63 and 2^63"),
        ("[space.k]\ntype = 'float'\nlow = 0\nhigh = inf", "space.k.high: numbers are finite (given: inf)."),
        ("[space.k]\ntype = 'choice'\nchoices = [1, nan]", "space.k.choices.1: numbers are finite"),
        ("# " + "x" * 2**20, "is larger than 1 MiB"),
    ],
)
def test_files_of_nonsense_are_one_line_each(tmp_path: Path, text: str, rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "search_spaces").mkdir()
    path = tmp_path / "search_spaces" / "own.toml"
    path.write_text(text)
    job = config.parse(
        {"name": "x", "data": {"source": "s"}, "backbone": {"name": "b"}, "methods": {}, "components": [str(tmp_path)]}
    )
    with pytest.raises(JobError) as caught:
        compose(["own"], job)
    assert len(caught.value.problems) == 1 and rule in str(caught.value) and "\n" not in str(caught.value)
    if "space" not in text:
        assert cli.main(["check", str(path)]) == 2
        heard = capsys.readouterr().err
        assert rule in heard and heard.count("\n") == 1


def test_bounds_are_told_with_everything_else() -> None:
    values = {
        "name": "x",
        "seed": 2**70,
        "data": {"source": "s"},
        "backbone": {},
        "methods": {},
        "tune": {"trials": float("inf")},
    }
    with pytest.raises(JobError) as caught:
        config.parse(values)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["seed", "tune.trials", "backbone.name"]


def test_a_table_may_nest_as_deep_as_options_do() -> None:
    assert toml.parse("a" + ".a" * (toml.DEPTH - 1) + " = 1", "x")
    with pytest.raises(JobError, match="x: nests more than"):
        toml.parse("a" + ".a" * toml.DEPTH + " = 1", "x")


def test_a_pipe_or_a_folder_is_no_file_of_options(tmp_path: Path) -> None:
    """Reading a pipe that nobody writes to would wait for ever."""
    (tmp_path / "search_spaces").mkdir()
    os.mkfifo(tmp_path / "search_spaces" / "own.toml")
    job = config.parse(
        {"name": "x", "data": {"source": "s"}, "backbone": {"name": "b"}, "methods": {}, "components": [str(tmp_path)]}
    )
    with pytest.raises(JobError, match=r"own\.toml: is a folder, a pipe or a device, and no file; name a file\."):
        compose(["own"], job)


@pytest.mark.parametrize("source", ["movielens", "douban", "amazon", "tabular"])
def test_the_home_of_nobody_is_a_path_where_nothing_lies(source: str, tmp_path: Path) -> None:
    options = {
        "movielens": {"path": "~nosuchuser/ml", "edition": "1m"},
        "douban": {"path": "~nosuchuser/d"},
        "amazon": {"path": "~nosuchuser/a", "domains": ["Toys"]},
        "tabular": {"files": "~nosuchuser/x.csv"},
    }[source]
    folders: list[Path] = []
    with pytest.raises(UserError, match=r"~nosuchuser/.*(no such file|there is no|missing)"):
        made = component("data.sources", source)(options_of("data.sources", source, options, folders))
        list(made.read())
