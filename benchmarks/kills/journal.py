"""The journal's segments, read without the product's code, and what must hold of them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Optuna's operation codes of a journal, and its states of a trial that is finished.
_CREATE_STUDY, _CREATE_TRIAL, _SET_PARAM, _SET_STATE, _SET_USER_ATTR = 0, 4, 5, 6, 8
_FINISHED = (1, 2, 3)

Key = tuple[str, int]
"""(study, number of the trial)"""


@dataclass
class Story:
    """What a journal tells.

    Args:
        asked: trials in the order in which they were asked.
        ends: how often each trial was told.
        results: how often each trial's results were recorded.
        params: how often each parameter of a trial was set.
        records: all, in order.
    """

    asked: list[Key] = field(default_factory=list)
    ends: Counter[Key] = field(default_factory=Counter)
    results: Counter[Key] = field(default_factory=Counter)
    params: Counter[tuple[Key, str]] = field(default_factory=Counter)
    records: list[dict[str, Any]] = field(default_factory=list)


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.json"))


def read(folder: Path) -> Story:
    """The story of a journal's folder; a segment that is not whole fails."""
    story = Story()
    studies: list[str] = []
    numbers: Counter[str] = Counter()
    for place, path in enumerate(segments(folder)):
        head, _, body = path.read_bytes().partition(b"\n")
        facts = json.loads(head)
        assert int(path.stem) == place, f"{path}: a segment before it is missing"
        assert hashlib.sha256(body).hexdigest() == facts["sha256"], f"{path}: torn"
        story.records += [json.loads(line) for line in body.splitlines()]
    for record in story.records:
        code = record["op_code"]
        if code == _CREATE_STUDY:
            studies.append(record["study_name"])
        elif code == _CREATE_TRIAL:
            study = studies[record["study_id"]]
            story.asked.append((study, numbers[study]))
            numbers[study] += 1
        elif code == _SET_PARAM:
            story.params[story.asked[record["trial_id"]], record["param_name"]] += 1
        elif code == _SET_STATE and record["state"] in _FINISHED:
            story.ends[story.asked[record["trial_id"]]] += 1
        elif code == _SET_USER_ATTR and "result" in record["user_attr"]:
            story.results[story.asked[record["trial_id"]]] += 1
    return story


def problems(run: Path) -> list[str]:
    """What is wrong with the journal of a finished run: a trial told twice or never, one asked anew, another merged journal."""
    story = read(run / "journal")
    trials = json.loads((run / "trials.json").read_text())
    known = {(t["study"], t["number"]) for t in trials}
    found = [f"journal: {key} was told {n} times" for key in story.asked if (n := story.ends[key]) != 1]
    found += [f"journal: {key} has its results {n} times" for key in story.asked if (n := story.results[key]) != 1]
    found += [f"journal: {name} of {key} was asked {n} times" for (key, name), n in story.params.items() if n != 1]
    if len(story.asked) != len(known) or set(story.asked) != known:
        found.append(f"journal: {len(story.asked)} configurations were asked, trials.json has {len(known)}")
    lines = (run / "journal" / "journal.log").read_text().splitlines()
    if [json.loads(line) for line in lines] != story.records:
        found.append("journal: journal.log is not what the segments hold")
    return found
