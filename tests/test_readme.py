"""What README, the docs, RESULTS and heads of jobs say works: jobs are jobs, commands exist, links lead somewhere."""

import re
import shlex
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from raytune_rec import cli, components, config
from raytune_rec.command.listing import FAMILIES, listed
from raytune_rec.job import shipped
from raytune_rec.job.data import TextOptions
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.tuning.search import space_files as catalogue
from tests.pages import PAGES, ROOT, TEXT, block, blocks

_RESULTS = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
_HEADS = "\n".join((shipped.folder("jobs") / f"{name}.toml").read_text(encoding="utf-8") for name in shipped.names("jobs"))
_RUN_IN = {
    'load_prompt("runs/quickstart': "pipeline/test_quickstart.py",
    'load_prompt("runs/ppr_ml1m': "scoring/test_pages.py",
    'load_prompt("runs/own': "pipeline/test_own.py",
    "class Nudge": "pipeline/test_own.py",
    'raytune_rec.run("quickstart"': "pipeline/test_init.py",
}
"""What a block of Python holds -> the test that runs it as it stands."""
FORMATTED = ("label", "timestamp", "price")
"""Columns that pages give a format."""
_OTHERS = (
    "git clone ",
    "make quickstart",
    "pip install -c constraints.txt .",
    "ray get-auth-token",
    "ray up ",
    "ray attach ",
    "tensorboard --logdir ",
    "optuna-dashboard ",
)
_PLAIN: dict[str, Any] = {"name": "x", "data": {"source": "synthetic"}, "backbone": {"name": "deepfm"}, "methods": {}}


def _commands() -> list[list[str]]:
    lines = []
    for text in (TEXT, _RESULTS):
        lines += [line for block in blocks("bash", text) for line in block.splitlines()]
        lines += re.findall(r"`((?:RAY_ADDRESS=auto )?raytune-rec [^`]*)`", text)
    lines += re.findall(r"^#   (raytune-rec .*)$", _HEADS.replace("\\\n#", ""), re.MULTILINE)
    found = [shlex.split(line.removeprefix("RAY_ADDRESS=auto "), comments=True) for line in dict.fromkeys(lines)]
    return [words[1:] for words in found if words and words[0] == "raytune-rec"]


def test_readme_is_for_a_stranger() -> None:
    assert len(PAGES["README.md"].split()) < 1500


@pytest.mark.parametrize("text", blocks("toml"), ids=lambda text: text.partition("\n")[0])
def test_jobs_and_parts_of_jobs_are_such(text: str) -> None:
    """A space of one's own, and a job that needs it, run in `pipeline/test_own.py`."""
    values = tomllib.loads(text)
    if "space" in values or "components" in values:
        assert "nudge" in text or "prompt.scale" in text
        return
    parts = {part: _PLAIN.get(part, {}) | of if isinstance(of, dict) else of for part, of in values.items()}
    job = config.parse(values if "name" in values else _PLAIN | parts)
    components.options_of("data.sources", job.data.source, job.data.options)
    components.options_of("backbones", job.backbone.name, job.backbone.options)
    for name, options in job.prompts.items():
        components.options_of("prompts", name, options)
    for row in job.methods.values():
        assert row.strategy in ALIASES
        catalogue.compose(row.space)


def test_the_options_of_the_search_are_options() -> None:
    options = next(values for block in blocks("toml") if set(values := tomllib.loads(block)) == {"tune"})
    assert config.parse({**_PLAIN, **options}).tune.stop.rule == "hyperband"


@cache
def _options() -> dict[str, str]:
    """Those of a job and of components, as a job writes them -> type."""
    found = [(what, row) for what in (*FAMILIES, "job") for thing in listed(what) for row in thing.options]
    return {f".{what.removesuffix('s')}.{row[0]}": row[2 if what in FAMILIES else 1] for what, row in found}


@pytest.mark.parametrize("line", sorted(set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)* = [^`]+)`", TEXT))))
def test_options_within_a_sentence_are_options(line: str) -> None:
    """Of a table whose names are the user's, such as `formats`, the table is one."""
    for path in _leaves(tomllib.loads(line)):
        tables = [path[: dot.start()] for dot in re.finditer(r"\.", path)]
        named = any(_options().get(f".job.{table}", "").startswith("dict") for table in tables)
        assert named or path in FORMATTED or any(option.endswith(f".{path}") for option in _options()), path


_SECTIONS = "data|split|sequences|training|objective|backbone|prompt|pretrain|tune|evaluate"
_NAMED = {name for name in re.findall(rf"`((?:{_SECTIONS})\.[a-z_.]+)`", TEXT) if not name.endswith((".json", ".safetensors"))}


@pytest.mark.parametrize("name", sorted(_NAMED))
def test_options_that_a_sentence_names_are_options(name: str) -> None:
    of_job = name.replace("data.options.", "source.")
    assert any(option.endswith(f".{of_job}") or option.startswith(f".job.{name}.") for option in _options())


def _leaves(values: dict[str, Any], above: str = "") -> list[str]:
    """Options with their paths."""
    inner = [(name, value) for name, value in values.items() if isinstance(value, dict)]
    return [f"{above}{name}" for name in values if name not in dict(inner)] + [
        path for name, value in inner for path in _leaves(value, f"{above}{name}.")
    ]


def test_code_runs_in_a_test() -> None:
    for code in blocks("python"):
        (test,) = [test for words, test in _RUN_IN.items() if words in code]
        assert "tests.pages" in (ROOT / "tests" / test).read_text(encoding="utf-8"), code


def test_other_commands_are_few() -> None:
    lines = [line for text in blocks("bash") for line in text.splitlines()]
    others = [line for line in lines if not line.removeprefix("RAY_ADDRESS=auto ").startswith(("raytune-rec ", *_OTHERS))]
    assert others == []


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_commands_exist_with_their_flags(words: list[str]) -> None:
    group: Any = typer.main.get_command(cli.app)
    command = group if words[0].startswith("--") else group.commands[words[0]]
    flags = {flag for parameter in command.params for flag in getattr(parameter, "opts", ())}
    assert {word for word in words if word.startswith("--")} <= {"--help", *flags}
    if words[0] == "show":
        assert words[1] in list(cli.Shown)
    if words[0] in ("run", "check", "tune") and len(words) > 1:
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
    pages = [(ROOT / name).read_text(encoding="utf-8") for name in ("CHANGELOG.md", "ARCHITECTURE.md")]
    told = re.findall(r"python -m benchmarks\.(\w+)([^`\n]*)", "\n".join([TEXT, _RESULTS, _HEADS, *pages]))
    assert {"sweep", "cold_curve", "beauty_metadata"} <= {name for name, _ in told}
    for name, words in told:
        (path,) = [p for p in (ROOT / "benchmarks" / f"{name}.py", ROOT / "benchmarks" / name / "__main__.py") if p.is_file()]
        source = path.read_text(encoding="utf-8")
        assert [flag for flag in re.findall(r"--[\w-]+", words) if f'"{flag}"' not in source] == [], name


@pytest.mark.parametrize("name", [*PAGES, "RESULTS.md", "ARCHITECTURE.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name: str) -> None:
    """In a checkout; of the site mkdocs asks it."""
    page = ROOT / name
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, part = target.partition("#")
        other = page.parent / path if path else page
        assert other.is_file(), target
        heads = re.findall(r"^#+ (.+)$", other.read_text(encoding="utf-8"), re.MULTILINE)
        assert not part or part in {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}, target


def test_every_command_is_told() -> None:
    group: Any = typer.main.get_command(cli.app)
    assert [name for name in group.commands if f"`{name}`" not in TEXT and f"raytune-rec {name}" not in TEXT] == []


def test_the_new_method_is_found_and_its_space_fits(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "prompts" / "nudge.py").write_text(block("python", "class Nudge"))
    (tmp_path / "search_spaces" / "nudge.toml").write_text(block("toml", "prompt.scale"))
    assert components.options_of("prompts", "nudge", {}, [tmp_path]).scale == 1.0
    job = config.parse({**_PLAIN, "components": [str(tmp_path)]})
    assert "prompt.scale" in {dimension.key for dimension in catalogue.compose(["nudge"], job).dimensions}


def test_the_table_of_strategies_is_complete() -> None:
    told = {name for name in ALIASES if f"\n| `{name}` |" in PAGES["docs/search.md"]}
    assert {name for name in ALIASES if not name.startswith("pretrain_") and name != "pretrain"} == told


def test_the_split_of_cold_items_that_pages_show_is_one() -> None:
    (line,) = re.findall(r"`(split = \{ kind = \"cold_items\".*?\})`", TEXT)
    data = {"source": "synthetic", "sequences": {}, **tomllib.loads(line)}
    job = {"name": "x", "data": data, "backbone": {"name": "dssm"}, "methods": {}, "training": {"metric": "ndcg@10"}}
    split = config.parse(job).data.split
    assert (split.cold, split.cold_least, split.cold_kept, split.cold_held) == (0.2, 60, 5, 20)


@pytest.mark.parametrize("line", re.findall(r"`(data\.text\S* = \{.*?\})`", TEXT))
def test_the_texts_that_pages_show_are_options(line: str) -> None:
    data = tomllib.loads(line)["data"]
    job = {"name": "x", "data": {"source": "synthetic", **data}, "backbone": {"name": "deepfm"}, "methods": {}}
    assert config.parse(job).data.text == TextOptions(**data["text"])
