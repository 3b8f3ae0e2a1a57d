"""The card of a prompt: what a person wants to know before using it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raytune_rec.artifacts.prompt_facts import PromptFacts
from raytune_rec.components import Family, names
from raytune_rec.task import TaskName

_LOADING = """```python
from raytune_rec.scoring import load_prompt

prompt = load_prompt(".", "../../backbones/{backbone}"{components})   # this folder, and the backbone's
{calls}
```"""
_ROWS = 'prompt.score({{"user": ["..."], "item": ["..."]}})          # raw identifiers and features; one score per row'
_HISTORIES = """users = {{"user": ["..."], "history": [["...", "..."]]{domain}}}   # raw identifiers: one user who took two items
prompt.recommend(users, k=10)                             # for each user the best (item, score)
prompt.score({{**users, "item": ["..."]}})                  # one item for each user; one score per row"""
_CLASSES = """users = {{"user": ["..."], "history": [["...", "..."]]{domain}}}   # raw identifiers: one user who took two items
prompt.predict(users)                                     # for each user (value of {predicts}, its probability)"""
_READ = (
    "`history` holds the items of each user, oldest first. Unknown items are left out, and the last {count} of the others are "
    "read. What else is known of users stands in columns of its own, or is looked up by `user` where the data of the run had "
    "them; {predicts} itself is never read."
)
_TAKEN = (
    "`history` holds the items of each user, oldest first; it is empty for a user who took nothing. Unknown items are left out, "
    "and the last {count} of the others are read. What else is known of users stands in columns of its own, or is looked up by "
    "`user` where the data of the run had them. Recommendations leave out the history (but for `seen=True`); scores compare the "
    "items of one user, and nothing else."
)
_USE: Mapping[TaskName, tuple[str, str]] = {"rows": (_ROWS, ""), "lists": (_HISTORIES, _TAKEN), "classes": (_CLASSES, _READ)}
"""What to call, and what the columns hold."""
_OWN = "{files} is no part of raytune_rec: `components` names the folder that holds it, as the job did."
_DOMAINS = "Items belong to domains, and so `domain` says for each user whose items are meant: {names}."


def card(facts: PromptFacts) -> str:
    """Markdown. It holds no date, so that the same run gives the same bytes."""
    trained = " + ".join(facts.strategy.train) or "nothing"
    parts = [
        f"# {plain(facts.prompt)} prompt for {plain(facts.unit.name)}",
        f"Tuned tensors for the unit **{plain(facts.unit.name)}**, to be used beside the backbone `{facts.backbone_fingerprint}` "
        f"({plain(facts.backbone)}). They replace nothing in it: one backbone serves many such prompts.",
        *([plain(facts.about)] if facts.about else []),
        "## Method",
        _table(
            {
                "method of the results table": facts.method,
                "strategy": facts.strategy.name,
                "start": facts.strategy.start,
                "trained groups": trained,
                "prompt": f"{facts.prompt} ({facts.strategy.prompt})",
                "tuned parameters": f"{facts.tuned_parameters:,}",
            }
        ),
        "## Metrics",
        "Validation chose the trial and its epoch. The test split was touched once, after that.",
        *_candidates(facts),
        _metrics("validation", facts.valid),
        _metrics("test", _shown(facts.test)) if facts.test is not None else "Test: not evaluated yet.",
        *(["At other cuts than 10: in `prompt.json`."] if facts.test and len(_shown(facts.test)) < len(facts.test) else []),
        "## How to load it",
        *_loading(facts),
        "Loading checks the format, the sha256 of the weights, names, shapes and dtypes, and that the backbone is the right one.",
        "## Winning options",
        _table({**facts.prompt_options, **facts.options}) if facts.options or facts.prompt_options else "The defaults.",
        "## Provenance",
        _table(
            {
                "trial": facts.trial,
                "seed": facts.seed,
                "replicate": facts.replicate,
                "backbone": facts.backbone_fingerprint,
                "data": facts.data_fingerprint,
                "sha256 of prompt.safetensors": facts.weights_sha256,
                **facts.versions,
            }
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _candidates(facts: PromptFacts) -> list[str]:
    """Among what validation chose the method."""
    (metric, *_) = (*facts.valid, "")
    listed = ", ".join(f"{plain(name)} {value:.4f}" for name, value in facts.candidates.items())
    said = f"It chose the method too, by {metric} (mean over replicates on this backbone): {listed}."
    return [said] if facts.candidates else []


def _loading(facts: PromptFacts) -> list[str]:
    """How to load it and what to ask."""
    domain = f', "domain": [{json.dumps(facts.domains[0], ensure_ascii=False)}]' if facts.domains else ""
    task = facts.task
    calls, told = _USE[task.name]
    calls = calls.format(domain=domain, predicts=json.dumps(task.attribute, ensure_ascii=False).replace("`", "'"))
    told = told.format(predicts=plain(task.attribute), count=task.length)
    named = [_DOMAINS.format(names=plain(", ".join(facts.domains)))] if facts.domains else []
    files = [f"`{family}/{name}.py`" for family, name in own_components(facts)]
    components = ', components=["..."]' if files else ""
    loading = _LOADING.format(backbone=facts.backbone_fingerprint, components=components, calls=calls)
    return [loading, *([_OWN.format(files=" and ".join(files))] if files else []), *([told] if told else []), *named]


def own_components(facts: PromptFacts, folders: Sequence[Path] = ()) -> list[tuple[str, str]]:
    """Family and name of the artifact's components that are neither ours nor in some folders of the user's."""
    used: tuple[tuple[Family, str], ...] = (("prompts", facts.prompt), ("backbones", facts.backbone))
    return [(family, name) for family, name in used if name not in names(family, folders)]


def _metrics(split: str, values: Mapping[str, Any]) -> str:
    return _table({f"{split} {name}": value for name, value in values.items()}) if values else f"{split.capitalize()}: no metric."


def _shown(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of a metric with several cuts, the one at 10."""
    return {name: value for name, value in values.items() if "@" not in name or name.endswith("@10")}


def _table(values: Mapping[str, Any]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {_cell(key)} | {_cell(value)} |" for key, value in values.items())])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "not finite" if not math.isfinite(value) else f"{value:.6g}"
    return plain(str(value))


def plain(text: str) -> str:
    """Text that Markdown shows as it is: of a name nothing is markup, HTML or the end of a cell."""
    return re.sub(r"([\\`*_{}\[\]<>#|!&~])", lambda sign: f"&#{ord(sign[0])};", " ".join(text.split()))
