"""Two finished run folders of one job: everything that a user keeps must be the same, but for times."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from benchmarks.kills import journal

_TIMES = {"seconds", "seconds_per_trial", "rows_per_second", "costs"}
_OF_JOB = {"inputs"}
"""A fingerprint of options of the job, which `job.toml` holds: a fault may need another one to come."""
_FILES = ("trials.json", "results.json", "pretrain.json", "job.toml")
_FOLDERS = ("artifacts", "winners", "backbones", "data")
_OWN = ("tensorboard", "logs")
"""Their files are named after process and time."""


def differences(undisturbed: Path, run: Path) -> list[str]:
    """What a run under kills holds otherwise; empty where all is well."""
    found = journal.problems(run)
    a, b = _contents(undisturbed), _contents(run)
    for name in sorted({*a, *b}):
        if name not in b:
            found.append(f"{name}: missing")
        elif name not in a:
            found.append(f"{name}: only here")
        elif a[name] != b[name]:
            found.append(f"{name}: differs")
    found += [f"{p.relative_to(run)}: a checkpoint that was left" for p in (run / "checkpoints").glob("*")]
    found += [f"stages/{name}: not complete" for name in _stages(undisturbed) - _stages(run)]
    return found


def leftovers(undisturbed: Path, run: Path) -> list[str]:
    """Files that an undisturbed run does not leave, and that no reader looks at: told, not judged.

    A kill in the middle of a write leaves its temporary file; the next command removes it.
    """
    of = [{str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()} for root in (undisturbed, run)]
    extra = (name for name in of[1] - of[0] if not name.startswith((*_OWN, "journal/0", "checkpoints/")))
    return sorted(name for name in extra if not _kept(name))


def _contents(run: Path) -> dict[str, str]:
    paths = [run / name for name in _FILES] + [p for folder in _FOLDERS for p in (run / folder).rglob("*")]
    return {str(p.relative_to(run)): _digest(p) for p in paths if p.is_file() and not _temporary(p.name)}


def _kept(name: str) -> bool:
    """Whether `differences` speaks of this file."""
    return not _temporary(Path(name).name) and (name in _FILES or name.split("/")[0] in _FOLDERS)


def _temporary(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")


def _digest(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".json":
        content = json.dumps(_timeless(json.loads(content)), sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(part) for key, part in value.items() if key not in _TIMES | _OF_JOB}
    return [_timeless(part) for part in value] if isinstance(value, list) else value


def _stages(run: Path) -> set[str]:
    return {p.parent.name for p in run.glob("stages/*/_complete.json")}
