"""The report page: one self-contained HTML file, made of a run folder alone."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from raytune_rec.report import missing, words
from raytune_rec.report.pictures import cold_items, forest, panels
from raytune_rec.report.pictures import pareto as front
from raytune_rec.report.run import Run, read
from raytune_rec.report.run import many as of_many
from raytune_rec.report.tables import choice, cost, frames, item_texts, many, predictions, published, rankings, web
from raytune_rec.report.tables import cold_items as cold_tables
from raytune_rec.storage.claim import RUN
from raytune_rec.storage.files import read_json, write_text
from raytune_rec.storage.places import brought


def build(run: Path) -> Path:
    """Write `report/index.html` into a run folder; equal folders give equal pages.

    Args:
        run: the folder; `results.json` and `job.toml` must be there, what else is missing is left out of the page.

    Returns:
        The page's path.

    Raises:
        ArtifactError: a file is missing, damaged or of an unknown format.
    """
    content = read(run)
    colour, crowded = panels.method_colours(content), of_many(content.results)
    environment = Environment(
        loader=PackageLoader("raytune_rec", "report/page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    effects = panels.effects(content, colour)
    of_prompt = [g for g in effects if g.name.startswith("prompt.")]
    page = environment.get_template("page.html.j2").render(
        run=content,
        verdict=words.verdict(content),
        table=many.main(content, colour) if crowded else web.main(content, colour),
        gains=many.gains(content, colour),
        nearness=many.by_distance(content, colour),
        domains=many.domains(content) if crowded else None,
        missing=missing.lines(content.results),
        warnings=[line for unit in content.units if (line := words.tied(content.results, unit))],
        contents=_headings,
        files=_files(content),
        rankings=rankings.tables(content, colour) + predictions.tables(content, colour),
        choice=choice.table(content),
        further=many.upright(web.further(content, colour, [content.own]), "metric")
        if crowded
        else web.further(content, colour, content.beside),
        published=published.table(content, colour),
        cohorts=many.upright(web.cohorts(content, colour), "cohort") if crowded else web.cohorts(content, colour),
        scores=cold_items.scores(content),
        score_table=cold_tables.scores(content, colour),
        item_map=cold_items.item_map(content),
        by_count=cold_items.by_count(content, colour),
        count_tables=cold_tables.by_count(content, colour),
        added=cold_tables.added(content, colour),
        forest=forest.differences(content, colour),
        comparisons=web.comparisons(content, colour),
        learning=panels.learning(content, colour),
        pretraining=panels.pretraining(content),
        pretrained=web.pretraining(content),
        fronts=front.plots(content, colour),
        front_table=front.table(content, colour),
        search=panels.search(content, colour),
        importances=panels.importances(content, colour),
        effects=of_prompt,
        other_effects=[g for g in effects if g not in of_prompt],
        costs=panels.costs(content, colour),
        hours=cost.table(content),
        item_texts=item_texts.table(content.item_texts),
        winners=web.winners(content),
        protocol=web.facts(content.results["protocol"]),
        provenance=web.facts(content.results.get("provenance", {})),
        backbones=[_backbone(b) for b in content.backbones],
        command=_again(content.folder),
    )
    path = Path(run) / "report" / "index.html"
    write_text(path, page)
    return path


def _again(run: Path) -> str:
    """The line of a shell that repeats a run in a folder beside it; a job's paths hold from where it was started, and those of a
    submitted one everywhere."""
    facts = read_json(run / RUN) if (run / RUN).exists() else {}
    if not isinstance(facts, dict) or not facts.keys() >= {"started_in", "folder"}:  # of an earlier version
        return "raytune-rec run job.toml --out ../again"
    here, folder = str(facts["started_in"]), str(facts["folder"])
    named = folder.removeprefix(f"{here}/")
    there = "" if brought(Path(here)) else f"cd {shlex.quote(here)} && "
    return f"{there}raytune-rec run {shlex.quote(f'{named}/job.toml')} --out {shlex.quote(f'{named}-again')}"


def _headings(body: str) -> list[tuple[str, str]]:
    """(anchor, text) of the sections of a page."""
    return re.findall(r'<h2 id="([^"]+)">([^<]*)</h2>', body)


def _files(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """What of the run folder the page leads to, as far as it is there: (what, [(name, address from the page)])."""
    tables = [
        name
        for name in (frames.RESULTS, frames.TRIALS, "results.json", "trials.json", "job.toml")
        if (run.folder / name).exists()
    ]
    artifacts = [(unit, f"../artifacts/{quote(folder.name)}/") for unit, folder in run.artifacts.items()]
    return [("Files:", [(name, f"../{name}") for name in tables]), *([("Artifacts:", artifacts)] if artifacts else [])]


def _backbone(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What identifies a backbone; its tensors and data files stay in its own folder."""
    names = (
        "fingerprint",
        "name",
        "pretraining",
        "prompt",
        "value",
        "epochs",
        "trials",
        "seed",
        "weights_sha256",
        "data_fingerprint",
    )
    return web.facts({n: facts[n] for n in names if n in facts})
