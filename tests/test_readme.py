"""What README, RESULTS and heads of jobs say works: jobs are jobs, commands exist, the component is one, links lead somewhere."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from raytune_rec import cli, components, config
from raytune_rec.job import shipped
from raytune_rec.job.data import TextOptions
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.tuning.search import space_files as catalogue

_ROOT = Path(__file__).parents[1]
_TEXT = (_ROOT / "README.md").read_text(encoding="utf-8")
_RESULTS = (_ROOT / "RESULTS.md").read_text(encoding="utf-8")
_HEADS = "\n".join((shipped.folder("jobs") / f"{name}.toml").read_text(encoding="utf-8") for name in shipped.names("jobs"))


def _blocks(language: str, text: str = _TEXT) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def _commands() -> list[list[str]]:
    lines = []
    for text in (_TEXT, _RESULTS):
        lines += [line for block in _blocks("bash", text) for line in block.splitlines()]
        lines += re.findall(r"`((?:RAY_ADDRESS=auto )?raytune-rec [^`]*)`", text)
    lines += re.findall(r"^#   (raytune-rec .*)$", _HEADS.replace("\\\n#", ""), re.MULTILINE)
    found = [shlex.split(line.removeprefix("RAY_ADDRESS=auto "), comments=True) for line in lines]
    return [words[1:] for words in found if words and words[0] == "raytune-rec"]


def test_jobs_are_jobs() -> None:
    jobs = [tomllib.loads(block) for block in _blocks("toml")]
    job = config.parse(next(values for values in jobs if "name" in values))
    components.options_of("data.sources", job.data.source, job.data.options)
    components.options_of("backbones", job.backbone.name, job.backbone.options)
    for name, options in job.prompts.items():
        components.options_of("prompts", name, options)
    for row in job.methods.values():
        assert row.strategy in ALIASES
        catalogue.compose(row.space)


def test_the_options_of_the_search_are_options() -> None:
    options = next(values for block in _blocks("toml") if set(values := tomllib.loads(block)) == {"tune"})
    job = config.parse({"name": "x", "data": {"source": "synthetic"}, "backbone": {"name": "deepfm"}, "methods": {}, **options})
    assert job.tune.stop.rule == "hyperband"


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_commands_exist_with_their_flags(words: list[str]) -> None:
    group: Any = typer.main.get_command(cli.app)
    command = group.commands[words[0]]
    flags = {flag for parameter in command.params for flag in getattr(parameter, "opts", ())}
    assert {word for word in words[1:] if word.startswith("--")} <= flags
    if words[0] == "show":
        assert words[1] in list(cli.Shown)
    if words[0] in ("run", "check") and len(words) > 1:
        assert words[1] in [*shipped.names("jobs"), "JOB"] or words[1].endswith(".toml")


def _runs() -> list[tuple[str, list[str]]]:
    """The shipped jobs that a command runs, and what it sets."""
    runs = [words for words in _commands() if words[0] in ("run", "check") and words[1:2] and words[1] in shipped.names("jobs")]
    return [(words[1], [words[i + 1] for i, word in enumerate(words) if word == "--set"]) for words in runs]


@pytest.mark.parametrize(("name", "settings"), _runs(), ids=str)
def test_what_a_command_sets_is_an_option_of_its_job(name: str, settings: list[str]) -> None:
    data = config.read(shipped.folder("jobs") / f"{name}.toml", settings).data
    components.options_of("data.sources", data.source, data.options)


def test_benchmarks_exist_with_their_flags() -> None:
    pages = [(_ROOT / name).read_text(encoding="utf-8") for name in ("CHANGELOG.md", "ARCHITECTURE.md")]
    told = re.findall(r"python -m benchmarks\.(\w+)([^`\n]*)", "\n".join([_TEXT, _RESULTS, _HEADS, *pages]))
    assert {"sweep", "cold_curve", "beauty_metadata"} <= {name for name, _ in told}
    for name, words in told:
        (path,) = [p for p in (_ROOT / "benchmarks" / f"{name}.py", _ROOT / "benchmarks" / name / "__main__.py") if p.is_file()]
        source = path.read_text(encoding="utf-8")
        assert [flag for flag in re.findall(r"--[\w-]+", words) if f'"{flag}"' not in source] == [], name


@pytest.mark.parametrize("name", ["README.md", "RESULTS.md", "ARCHITECTURE.md"])
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", (_ROOT / name).read_text(encoding="utf-8")):
        path, _, part = target.partition("#")
        assert (_ROOT / path).is_file(), target
        heads = re.findall(r"^#+ (.+)$", (_ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
        assert not part or part in {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}, target


def test_every_command_is_told() -> None:
    group: Any = typer.main.get_command(cli.app)
    assert [name for name in group.commands if f"`{name}`" not in _TEXT and f"raytune-rec {name}" not in _TEXT] == []


def test_the_new_method_is_found_and_its_space_fits(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "prompts" / "nudge.py").write_text(next(block for block in _blocks("python") if "class Nudge" in block))
    (tmp_path / "search_spaces" / "nudge.toml").write_text(next(block for block in _blocks("toml") if "prompt.scale" in block))
    assert components.options_of("prompts", "nudge", {}, [tmp_path]).scale == 1.0
    values = {"name": "x", "data": {"source": "synthetic"}, "backbone": {"name": "deepfm"}, "methods": {}}
    job = config.parse({**values, "components": [str(tmp_path)]})
    assert "prompt.scale" in {dimension.key for dimension in catalogue.compose(["nudge"], job).dimensions}


def test_the_table_of_strategies_is_complete() -> None:
    told = {name for name in ALIASES if f"| `{name}` |" in _TEXT}
    assert {name for name in ALIASES if not name.startswith("pretrain_") and name != "pretrain"} == told


def test_the_split_of_cold_items_that_readme_shows_is_one() -> None:
    (line,) = re.findall(r"`(split = \{ kind = \"cold_items\".*?\})`", _TEXT)
    data = {"source": "synthetic", "sequences": {}, **tomllib.loads(line)}
    job = {"name": "x", "data": data, "backbone": {"name": "dssm"}, "methods": {}, "training": {"metric": "ndcg@10"}}
    split = config.parse(job).data.split
    assert (split.cold, split.cold_least, split.cold_kept, split.cold_held) == (0.2, 60, 5, 20)


@pytest.mark.parametrize("line", re.findall(r"`(data\.text\S* = \{.*?\})`", _TEXT))
def test_the_texts_that_readme_shows_are_options(line: str) -> None:
    data = tomllib.loads(line)["data"]
    job = {"name": "x", "data": {"source": "synthetic", **data}, "backbone": {"name": "deepfm"}, "methods": {}}
    assert config.parse(job).data.text == TextOptions(**data["text"])
