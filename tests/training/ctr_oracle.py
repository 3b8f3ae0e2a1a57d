"""CTR models by the letter, in numpy: one row after the other, field after field. Shapes: F fields, D width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from raytune_rec.schema.prepared import Field

Weights = Mapping[str, np.ndarray]
Row = Mapping[str, Any]


def fields(weights: Weights, of: Sequence[Field], row: Row, treatment: str) -> tuple[list[np.ndarray], list[float], float]:
    """Vectors of the embedded fields, numbers that go as they are, and the first-order part without its bias."""
    vectors, raw, first = [], [], 0.0
    for f in of:
        value = row[f.name]
        if f.kind == "numerical" and treatment != "discretize":
            number = 0.0 if np.isnan(value) else (float(value) - f.mean) / f.std
            first += number * float(weights[f"linear.{f.name}"][0])
            if treatment == "field":
                vectors.append(number * weights[f"embedding.{f.name}"])
            else:
                raw.append(number)
            continue
        if f.kind == "numerical":
            ids = [0 if np.isnan(value) else 1 + sum(value >= edge for edge in f.edges)]
        else:
            ids = [int(v) for v in np.atleast_1d(value) if f.kind == "categorical" or v]
        rows = [weights[f"embedding.{f.name}"][i] for i in ids]
        vectors.append(np.mean(rows, axis=0) if ids else np.zeros(weights[f"embedding.{f.name}"].shape[1]))
        first += float(np.mean([weights[f"linear.{f.name}"][i] for i in ids])) if ids else 0.0
    return vectors, raw, first


def _deep(weights: Weights, x: np.ndarray, prompt: np.ndarray, first: Sequence[float] = ()) -> np.ndarray:
    """The hidden layers, without dropout."""
    sides = [weights["deep.0.fields"], *([weights["deep.0.prompt"]] if len(prompt) else [])]
    sides += [weights["deep.0.linear"]] if len(first) else []
    hidden = np.maximum(np.concatenate([x, prompt, first]) @ np.vstack(sides) + weights["deep.0.bias"], 0)
    i = 1
    while f"deep.{i}.weight" in weights:
        hidden = np.maximum(hidden @ weights[f"deep.{i}.weight"] + weights[f"deep.{i}.bias"], 0)
        i += 1
    return hidden


def deepfm(weights: Weights, of: Sequence[Field], row: Row, treatment: str = "field", prompt: Sequence[Any] = ()) -> float:
    """Eq. 1 to 4 of Guo et al.: every pair of fields, prompt fields among them, and the deep part."""
    vectors, raw, first = fields(weights, of, row, treatment)
    every = [*vectors, *prompt]
    pairs = sum(float(a @ b) for i, a in enumerate(every) for b in every[i + 1 :])
    hidden = _deep(weights, np.concatenate([*vectors, raw]), np.concatenate([[], *prompt]))
    return first + float(weights["linear.bias"][0]) + pairs + _out(weights, hidden)


def dcn(weights: Weights, of: Sequence[Field], row: Row, treatment: str = "field", prompt: Sequence[Any] = ()) -> float:
    """Eq. 3 and 6 of Wang et al.: x_{l+1} = x_0 x_l^T w_l + b_l + x_l as an outer product, and the deep part beside."""
    vectors, raw, first = fields(weights, of, row, treatment)
    own, further = np.concatenate([*vectors, raw]), np.concatenate([[], *prompt])
    start = x = np.concatenate([own, further])

    def whole(name: str) -> np.ndarray:
        sides = ("fields", "prompt") if len(further) else ("fields",)
        return np.vstack([weights[name.format(side)] for side in sides])

    weight, bias = whole("cross.{}"), whole("cross.{}.bias")
    for layer in range(weight.shape[1]):
        x = np.outer(start, x) @ weight[:, layer] + bias[:, layer] + x
    hidden = _deep(weights, own, further)
    out = x @ whole("output.{}")[:, 0] + _out(weights, hidden)
    return first + float(weights["linear.bias"][0]) + float(out)


def dcnv2(weights: Weights, of: Sequence[Field], row: Row, treatment: str = "field", prompt: Sequence[Any] = ()) -> float:
    """Eq. 1 of Wang et al. (2021), x_{l+1} = x_0 * (W_l x_l + b_l) + x_l, and the deep part beside."""
    vectors, raw, first = fields(weights, of, row, treatment)
    own, further = np.concatenate([*vectors, raw]), np.concatenate([[], *prompt])
    start = x = np.concatenate([own, further])
    layer = 0
    while f"cross.{layer}.bias" in weights:
        low = f"cross.{layer}.down" in weights
        matrix = weights[f"cross.{layer}.down"] @ weights[f"cross.{layer}.up"] if low else weights[f"cross.{layer}.weight"]
        x = start * (matrix.T @ x + weights[f"cross.{layer}.bias"]) + x
        layer += 1
    out = x @ weights["output.cross"][:, 0] + _out(weights, _deep(weights, own, further))
    return first + float(weights["linear.bias"][0]) + float(out)


def xdeepfm(weights: Weights, of: Sequence[Field], row: Row, treatment: str = "field", prompt: Sequence[Any] = ()) -> float:
    """Lian et al.: each feature map as the weighted sum over all pairs of a map before and a field."""
    vectors, raw, first = fields(weights, of, row, treatment)
    start = maps = np.array([*vectors, *prompt])
    sums: list[float] = []
    layer = 0
    while f"maps.{layer}" in weights:
        weight = weights[f"maps.{layer}"].reshape(len(maps), len(start), -1)
        maps = np.einsum("ijh,id,jd->hd", weight, maps, start)
        sums += maps.sum(1).tolist()
        layer += 1
    deep = _out(weights, _deep(weights, np.concatenate([*vectors, raw]), np.concatenate([[], *prompt])))
    return first + float(weights["linear.bias"][0]) + float(np.array(sums) @ weights["output.maps"][:, 0]) + deep


def wide_deep(weights: Weights, of: Sequence[Field], row: Row, treatment: str = "field", prompt: Sequence[Any] = ()) -> float:
    """Eq. 3 of Cheng et al.: the linear part and the deep part."""
    vectors, raw, first = fields(weights, of, row, treatment)
    deep = _out(weights, _deep(weights, np.concatenate([*vectors, raw]), np.concatenate([[], *prompt])))
    return first + float(weights["linear.bias"][0]) + deep


def fnn(weights: Weights, of: Sequence[Field], row: Row, treatment: str = "field", prompt: Sequence[Any] = ()) -> float:
    """Zhang et al.: the bias and each field's weight and embedding are what the first layer reads."""
    vectors, raw, _ = fields(weights, of, row, treatment)
    firsts = [fields(weights, [f], row, treatment)[2] for f in of] + [float(weights["linear.bias"][0])]
    return _out(weights, _deep(weights, np.concatenate([*vectors, raw]), np.concatenate([[], *prompt]), firsts))


def _out(weights: Weights, hidden: np.ndarray) -> float:
    return float(hidden @ weights["output.weight"][:, 0] + weights["output.bias"][0])
