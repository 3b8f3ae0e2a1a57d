"""What mkdocs adds to these pages: the reference, read from the code, and the long pages that lie beside this folder.

Pages name the command that prints a part of the reference; on the site it is a link. So they can be read in a checkout too.
"""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path
from posixpath import relpath
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pygments.formatters import HtmlFormatter

from raytune_rec import cli
from raytune_rec.command.listing import Table, listed
from raytune_rec.config import Job

_ROOT = Path(__file__).parents[1]
_BESIDE = ("RESULTS.md", "CHANGELOG.md", "ARCHITECTURE.md")
_REFERENCE = {
    "job": "Options of a job",
    "sources": "Sources",
    "backbones": "Backbones",
    "prompts": "Prompts",
    "objectives": "Objectives",
    "trackers": "Trackers",
    "strategies": "Strategies",
    "spaces": "Search spaces",
    "jobs": "Shipped jobs",
}
_FOLDER = "reference"
_COMMAND, _SCHEMA = f"{_FOLDER}/command.md", f"{_FOLDER}/job.schema.json"
_PRINTED = {f"`raytune-rec show {what}`": f"{_FOLDER}/{what}.md" for what in _REFERENCE} | {
    "`raytune-rec --help`": _COMMAND,
    "`raytune-rec show schema`": _SCHEMA,
}
"""Command -> the page that says what it prints."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds pages that are no files of this folder."""
    pages = {name: (_ROOT / name).read_text(encoding="utf-8") for name in _BESIDE}
    pages |= {f"{_FOLDER}/{what}.md": _reference(what, title) for what, title in _REFERENCE.items()}
    pages |= {_COMMAND: _command(), _SCHEMA: json.dumps(Job.model_json_schema(), indent=1)}
    pages["code.css"] = _colours()
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links to pages beside this folder, and commands that print the reference, lead into the site."""
    folder = Path(page.file.src_uri).parent.as_posix()
    if folder == _FOLDER:
        return markdown
    beside = rf"\]\((?:\.\./)*({'|'.join(_BESIDE)})([#)])"
    markdown = re.sub(beside, lambda link: f"]({relpath(link[1], folder)}{link[2]}", markdown)
    return re.sub("|".join(_PRINTED), lambda command: f"[{command[0]}]({relpath(_PRINTED[command[0]], folder)})", markdown)


def _reference(what: str, title: str) -> str:
    told = {"job": " A [JSON schema](job.schema.json) for editors says the same."}.get(what, "")
    parts = [f"# {title}", f"From the code, as `raytune-rec show {what}` prints it.{told}"]
    for thing in listed(what):
        parts += [f"## {thing.name}", _text(thing.doc)] if thing.name else []
        parts += [_table(table) for table in thing.tables] or ["No options."]
    return "\n\n".join(parts) + "\n"


def _text(doc: str) -> str:
    """A docstring as Markdown: its words are taken as they stand, but for code in backticks and indented blocks."""
    return "\n".join(line if line.startswith("    ") else _words(line) for line in doc.splitlines())


def _words(line: str) -> str:
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(part if part.startswith("`") else re.sub(r"([*_\[\]])", r"\\\1", escape(part, quote=False)) for part in parts)


def _table(table: Table) -> str:
    lines = [table.columns, ["---"] * len(table.columns)]
    lines += [[f"`{row[0]}`", *(_words(cell).replace("|", "\\|") for cell in row[1:])] for row in table.rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _command() -> str:
    group: Any = typer.main.get_command(cli.app)
    parts = ["# The command", "From the code, as `raytune-rec COMMAND --help` prints it."]
    for name, command in group.commands.items():
        words = [p.metavar or p.name.upper() for p in command.params if p.param_type_name == "argument"]
        parts += [f"## {name}", _words(" ".join((command.help or "").split())), f"    raytune-rec {' '.join([name, *words])}"]
        parts.append(_table(Table(("word", "what it is"), [_word(p) for p in command.params])))
    completion = "`raytune-rec --install-completion` lets your shell complete commands, shipped jobs and files"
    parts.append(f"{completion}; `raytune-rec --show-completion` prints the script.")
    return "\n\n".join(parts) + "\n"


def _word(parameter: Any) -> tuple[str, str]:
    option = parameter.param_type_name == "option"
    name = ", ".join(parameter.opts) if option else parameter.metavar or parameter.name.upper()
    return name, " ".join((parameter.help or "").split())


def _colours() -> str:
    """Of code, in light and dark."""
    light, dark = (
        HtmlFormatter(style=style).get_style_defs(where)
        for style, where in (("friendly", ".codehilite"), ("monokai", "[data-bs-theme=dark] .codehilite"))
    )
    return f"{light}\n{dark}\n.codehilite pre {{ padding: .6rem; }}\ntable {{ display: block; overflow-x: auto; }}\n"
