"""What a run folder holds that a user keeps: tensors by name, and facts by their place in a JSON file."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

_FACTS = ("results.json", "trials.json", "winner.json", "prompt.json", "backbone.json", "pretrain.json")
_PASSING = ("seconds", "seconds_per_trial", "rows_per_second", "costs", "format", "sha256", "version", "raytune_rec")
"""Of the moment, or of the file itself."""
RENAMED = Path(__file__).parent / "renamed.toml"


def contents(run: Path, renamed: Mapping[str, str]) -> dict[str, str]:
    """Place -> value, of all files. Names in places are renamed."""
    backbones = _backbones(run)
    values: dict[str, str] = {}
    for path in sorted(run.rglob("*")):
        place = [backbones.get(part, part) for part in path.relative_to(run).parts]
        if place[0] not in ("artifacts", "winners", "backbones") and len(place) > 1:
            continue
        if path.suffix == ".safetensors":
            values |= {_name([*place, name], renamed): digest for name, digest in _tensors(path)}
        elif path.name in _FACTS:
            values |= {_name([*place, *keys], renamed): repr(value) for keys, value in _leaves(json.loads(path.read_text()))}
    return values


def renames() -> dict[str, str]:
    """Old name -> new one."""
    return {str(old): str(new) for old, new in tomllib.loads(RENAMED.read_text(encoding="utf-8")).items()}


def _name(place: list[str], renamed: Mapping[str, str]) -> str:
    return "/".join(_part(place[: end + 1], renamed) for end in range(len(place)))


def _part(place: list[str], renamed: Mapping[str, str]) -> str:
    """The name now of the last part of a place."""
    ends = {f"*{old}" if "/" in old else f"*/{old}": new for old, new in renamed.items()}
    return next((new for old, new in ends.items() if fnmatch.fnmatchcase("/" + "/".join(place), old)), place[-1])


def _backbones(run: Path) -> dict[str, str]:
    """Fingerprint, or the name of its folder -> the pre-training that it is of: fingerprints may change, their names do not."""
    path = run / "pretrain.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    return {facts["fingerprint"]: name for name, facts in known.items() if isinstance(facts, dict) and "fingerprint" in facts}


def _tensors(path: Path) -> Iterator[tuple[str, str]]:
    for name, tensor in load_file(path).items():
        yield name, f"{tensor.dtype} {tensor.shape} {hashlib.sha256(tensor.tobytes()).hexdigest()}"


def _leaves(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            if key not in _PASSING and "fingerprint" not in key and key != "inputs":
                yield from _leaves(part, (*place, str(key)))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _leaves(part, (*place, str(number)))
    else:
        yield place, value
