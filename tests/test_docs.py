"""The site of docs/: it builds without a warning, fetches nothing, and its reference tells what the code has."""

import re
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

from raytune_rec import components
from raytune_rec.command.listing import FAMILIES, listed
from tests.pages import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return folder


def test_nothing_is_fetched_when_it_is_read(site: Path) -> None:
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert len(pages) > 25
    loaded = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=.?(?:https?:)?//|<link\b[^>]*\bhref=.?(?:https?:)?//")
    assert [path.name for path, text in pages.items() if loaded.search(text)] == []
    styles = [
        path
        for path in site.rglob("*.css")
        if re.search(r"(?:url\(|@import)\s*.?(?:https?:)?//", path.read_text(encoding="utf-8"))
    ]
    assert styles == []


def test_the_reference_tells_every_option_and_every_component(site: Path) -> None:
    for what in (*FAMILIES, "job"):
        page = (site / "reference" / f"{what}.html").read_text(encoding="utf-8")
        options = {row[0].replace("<", "&lt;").replace(">", "&gt;") for thing in listed(what) for row in thing.options}
        assert [option for option in options if f"<code>{option}</code>" not in page] == []
        names = components.names(FAMILIES[what]) if what in FAMILIES else []
        assert [name for name in names if f'<h2 id="{name}">' not in page] == []


def test_pages_beside_the_folder_and_commands_of_the_reference_are_linked(site: Path) -> None:
    plate = (site / "methods" / "plate.html").read_text(encoding="utf-8")
    assert 'href="../RESULTS.html#plate-on-douban"' in plate
    assert 'href="../reference/prompts.html"><code>raytune-rec show prompts</code>' in plate
    assert "PROMO does not win here" in (site / "RESULTS.html").read_text(encoding="utf-8")
