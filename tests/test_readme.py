"""What the README says works: its jobs are jobs, its commands exist, its component is one."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from raytune_rec import cli, components, config
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.tuning import catalogue

_ROOT = Path(__file__).parents[1]
_TEXT = (_ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", _TEXT, re.DOTALL | re.MULTILINE)


def _commands() -> list[list[str]]:
    lines = [line for block in _blocks("bash") for line in block.splitlines()]
    lines += re.findall(r"`((?:RAY_ADDRESS=auto )?raytune-rec [^`]*)`", _TEXT)
    found = [shlex.split(line.removeprefix("RAY_ADDRESS=auto "), comments=True) for line in lines]
    return [words[1:] for words in found if words and words[0] == "raytune-rec"]


def test_jobs_are_jobs() -> None:
    jobs = [tomllib.loads(block) for block in _blocks("toml")]
    job = config.parse(next(values for values in jobs if "name" in values))
    components.options_of("data.sources", job.data.source, job.data.options)
    components.options_of("backbones", job.backbone.name, job.backbone.options)
    for name, options in job.prompts.items():
        components.options_of("prompts", name, options)
    for row in job.rows.values():
        assert row.strategy in ALIASES
        catalogue.compose(row.space)


def test_the_options_of_the_search_are_options() -> None:
    options = next(values for block in _blocks("toml") if set(values := tomllib.loads(block)) == {"tune"})
    job = config.parse({"name": "x", "data": {"source": "synthetic"}, "backbone": {"name": "deepfm"}, "rows": {}, **options})
    assert job.tune.stop.rule == "hyperband"


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_commands_exist_with_their_flags(words: list[str]) -> None:
    group: Any = typer.main.get_command(cli.app)
    command = group.commands[words[0]]
    flags = {flag for parameter in command.params for flag in getattr(parameter, "opts", ())}
    assert {word for word in words[1:] if word.startswith("--")} <= flags
    if words[0] == "show":
        assert words[1] in list(cli.Shown)


def test_every_command_is_told() -> None:
    group: Any = typer.main.get_command(cli.app)
    assert [name for name in group.commands if f"`{name}`" not in _TEXT and f"raytune-rec {name}" not in _TEXT] == []


def test_the_new_method_is_found_and_its_space_fits(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "prompts" / "nudge.py").write_text(next(block for block in _blocks("python") if "class Nudge" in block))
    (tmp_path / "search_spaces" / "nudge.toml").write_text(next(block for block in _blocks("toml") if "prompt.scale" in block))
    assert components.options_of("prompts", "nudge", {}, [tmp_path]).scale == 1.0
    values = {"name": "x", "data": {"source": "synthetic"}, "backbone": {"name": "deepfm"}, "rows": {}}
    job = config.parse({**values, "components": [str(tmp_path)]})
    assert "prompt.scale" in {dimension.key for dimension in catalogue.compose(["nudge"], job).dimensions}


def test_the_table_of_strategies_is_complete() -> None:
    told = {name for name in ALIASES if f"| `{name}` |" in _TEXT}
    assert {name for name in ALIASES if not name.startswith("pretrain_") and name != "pretrain"} == told
