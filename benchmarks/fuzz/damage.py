"""What is done to a sound folder. Everything is drawn from the number of the case."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from safetensors.torch import load, save

from benchmarks.fuzz.folders import Files

NASTY: list[Any] = [
    None, True, 0, -1, 1.5, 2**31, 2**63 - 1, 2**63, 10**400, "", "x", "../../etc/passwd", "/etc/passwd", "\0",
    "__import__('os')", "nan",
    [], {}, [[]], [None], {"a": {}}, [-1], ["x"] * 40, "y" * 5000, "float64", "int64", "prompt", "backbone", "none",
    "rows.user", {"": 1},
]  # fmt: skip
RAW = [
    "NaN",
    "Infinity",
    "-1e999",
    "1" * 5000,
    "[" * 5000 + "]" * 5000,
    '{"a":' * 5000 + "1" + "}" * 5000,
    '"\\ud800"',
    "\ufeff1",
    "1e5",
    "{",
]
"""Text in the place of a value."""
_HOLE = "\u0001hole\u0001"


def damage(sound: Files, chance: random.Random) -> tuple[str, Files]:
    """(which part, its files as they are now)."""
    part = chance.choice(["prompt", "prompt", "backbone", "stage", "stage", "journal", "journal"])
    files = {name: content for name, content in sound.items() if name.startswith(part + "/")}
    how = chance.choice(_WAYS[part])
    how(files, chance)
    if chance.random() < 0.8:
        _seal(part, files)
    return part, files


def _json(files: Files, chance: random.Random) -> None:
    """A value of a JSON file becomes another, goes, or comes twice."""
    name = chance.choice([name for name in files if name.endswith(".json")])
    head, newline, rest = files[name].partition(b"\n") if name.startswith("journal") else (files[name], b"", b"")
    target, lines = head, rest.splitlines()
    place = chance.randrange(len(lines) + 1) if lines else 0
    target = lines[place - 1] if place else head
    changed = _changed(json.loads(target), chance).encode("utf-8", "surrogatepass")
    if place:
        lines[place - 1] = changed
    else:
        head = changed
    files[name] = head + newline + b"".join(line + b"\n" for line in lines)


def _changed(value: Any, chance: random.Random) -> str:
    raw = ""
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        owner, key = _place(value, chance)
        if owner is None:
            return chance.choice(RAW + [json.dumps(v) for v in NASTY])
        kind = chance.random()
        if kind < 0.2:
            del owner[key]
        elif kind < 0.3 and isinstance(owner, dict):
            owner[chance.choice(["x", "../x", "format", "sha256", key + "x"])] = _nasty(chance)
        elif kind < 0.45:
            owner[key], raw = _HOLE, chance.choice(RAW)
        else:
            owner[key] = _nasty(chance)
    text = json.dumps(value)
    text = text.replace(json.dumps(_HOLE), raw) if raw else text
    return text[:1] + '"format": 1, ' + text[1:] if chance.random() < 0.05 and text.startswith('{"') else text


def _nasty(chance: random.Random) -> Any:
    """One of its own for each place: what a case then changes inside it is in no other case, and never inside itself."""
    return deepcopy(chance.choice(NASTY))


def _place(value: Any, chance: random.Random) -> tuple[Any, Any]:
    owner, key = None, None
    while isinstance(value, dict | list) and value and (owner is None or chance.random() < 0.7):
        owner, key = value, chance.choice(list(value)) if isinstance(value, dict) else chance.randrange(len(value))
        value = owner[key]
    return owner, key


def _bytes(files: Files, chance: random.Random) -> None:
    """Bytes flip, go, or come."""
    name = chance.choice(list(files))
    content = bytearray(files[name])
    for _ in range(chance.choice([1, 1, 3, 20])):
        at = chance.randrange(len(content)) if content else 0
        kind = chance.random()
        if kind < 0.6 and content:
            content[at] ^= 1 << chance.randrange(8)
        elif kind < 0.8:
            del content[at : at + chance.choice([1, 7, len(content)])]
        else:
            content[at:at] = bytes(chance.randrange(256) for _ in range(chance.choice([1, 9])))
    files[name] = bytes(content)


def _gone(files: Files, chance: random.Random) -> None:
    del files[chance.choice(list(files))]


def _tensors(files: Files, chance: random.Random) -> None:
    """Tensors that are nonsense, in a sound file; half the time the facts say the same."""
    name = next(name for name in files if name.endswith(".safetensors"))
    tensors = load(files[name])
    key = chance.choice(sorted(tensors))
    t = tensors[key]
    ways: list[Callable[[], torch.Tensor]] = [
        lambda: t.double(), lambda: t.long(), lambda: t.half(), lambda: t.bool(), lambda: t.reshape(-1), lambda: t[:0],
        lambda: t[None],
        lambda: torch.cat([t, t]) if t.dim() else t, lambda: t - 5, lambda: t * 10**6, lambda: t.roll(1), lambda: t * 0,
        lambda: (t.float() * torch.nan), lambda: (t.float() + torch.inf), lambda: t.flip(0) if t.dim() else t,
    ]  # fmt: skip
    kind = chance.random()
    if kind < 0.2:
        del tensors[key]
    elif kind < 0.35:
        tensors[chance.choice(["x", "prompt.x", "backbone.x", "rows.x", "rows.domain", key + "x"])] = t.clone()
    else:
        tensors[key] = chance.choice(ways)().contiguous().clone()
    files[name] = save(tensors)
    facts = next(n for n in files if n.endswith(("prompt.json", "backbone.json")))
    if chance.random() < 0.5:
        values = json.loads(files[facts])
        old = values["parameters"]
        values["parameters"] = {
            n: {**old.get(n, {"group": "", "rows": None}), "shape": list(t.shape), "dtype": str(t.dtype).removeprefix("torch.")}
            for n, t in tensors.items()
            if not n.startswith("rows.")
        }
        files[facts] = json.dumps(values).encode()


def _header(files: Files, chance: random.Random) -> None:
    """The header of safetensors, JSON of its own."""
    name = next(name for name in files if name.endswith(".safetensors"))
    content = files[name]
    size = struct.unpack("<Q", content[:8])[0]
    header = _changed(json.loads(content[8 : 8 + size]), chance).encode("utf-8", "surrogatepass")
    told = chance.choice([len(header), len(header), len(header), 0, 2**63, size])
    files[name] = struct.pack("<Q", told) + header + content[8 + size :]


_ARTIFACT = [_json, _json, _json, _bytes, _gone, _tensors, _tensors, _header]
_WAYS = {
    "prompt": _ARTIFACT,
    "backbone": _ARTIFACT,
    "stage": [_json, _json, _bytes, _gone],
    "journal": [_json, _json, _bytes, _gone],
}


def _seal(part: str, files: Files) -> None:
    """Make the hashes fit that a damaged file breaks, as far as the files still are what they were."""
    try:
        if part == "journal":
            for name, content in files.items():
                head, _, lines = content.partition(b"\n")
                values = json.loads(head)
                values["sha256"] = hashlib.sha256(lines).hexdigest()
                files[name] = json.dumps(values).encode() + b"\n" + lines
        elif part == "stage":
            values = json.loads(files["stage/_complete.json"])
            values.pop("sha256", None)
            text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
            files["stage/_complete.json"] = json.dumps({**values, "sha256": hashlib.sha256(text.encode()).hexdigest()}).encode()
        else:
            facts = json.loads(files[f"{part}/{part}.json"])
            facts["weights_sha256"] = hashlib.sha256(files[f"{part}/{part}.safetensors"]).hexdigest()
            for name in facts.get("data_files", {}):
                facts["data_files"][name] = hashlib.sha256(files[f"{part}/data/{name}"]).hexdigest()
            files[f"{part}/{part}.json"] = json.dumps(facts).encode()
            marker = json.loads(files[f"{part}/_complete.json"])
            marker["sha256"] = hashlib.sha256(files[f"{part}/{part}.json"]).hexdigest()
            files[f"{part}/_complete.json"] = json.dumps(marker).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
