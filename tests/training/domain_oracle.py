"""Models with parts of each domain's own, by the letter, in numpy: one row, one domain. Shapes: E experts, H width."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Weights = Mapping[str, np.ndarray]


def _layers(w: Weights, name: str, x: np.ndarray, d: int | None = None, e: int | None = None, last: bool = True) -> np.ndarray:
    """Dense layers of a domain, of an expert, or of both."""
    count = 0
    while f"{name}.{count}.weight" in w:
        count += 1
    for i in range(count):
        matrix, bias = w[f"{name}.{i}.weight"], w[f"{name}.{i}.bias"]
        for place in (d, e):
            matrix, bias = (matrix, bias) if place is None else (matrix[place], bias[place])
        x = x @ matrix + bias
        x = np.maximum(x, 0) if last or i < count - 1 else x
    return x


def _softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum()


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def shared_bottom(w: Weights, x: np.ndarray, d: int) -> float:
    return float(_layers(w, "tower", _layers(w, "bottom", x), d, last=False)[0])


def mmoe(w: Weights, x: np.ndarray, d: int) -> float:
    gate = _softmax(_layers(w, "gate", x, d, last=False))
    return float(_layers(w, "tower", sum(g * _layers(w, "expert", x, e=e) for e, g in enumerate(gate)), d, last=False)[0])


def omoe(w: Weights, x: np.ndarray, d: int) -> float:
    gate = _softmax(_layers(w, "gate", x, last=False))
    return float(_layers(w, "tower", sum(g * _layers(w, "expert", x, e=e) for e, g in enumerate(gate)), d, last=False)[0])


def ple(w: Weights, x: np.ndarray, d: int) -> float:
    own = shared = x
    level = 0
    while f"own.{level}.0.weight" in w:
        states = [_layers(w, f"own.{level}", own, d, e) for e in range(w[f"own.{level}.0.weight"].shape[1])]
        states += [_layers(w, f"shared.{level}", shared, e=e) for e in range(w[f"shared.{level}.0.weight"].shape[0])]
        of_own = _softmax(_layers(w, f"gate.{level}", own, d, last=False))
        if f"gate_shared.{level}.0.weight" in w:
            of_all = _softmax(_layers(w, f"gate_shared.{level}", shared, last=False))
            shared = sum(g * s for g, s in zip(of_all, states, strict=True))
        own = sum(g * s for g, s in zip(of_own, states, strict=True))
        level += 1
    return float(_layers(w, "tower", own, d, last=False)[0])


def aitm(w: Weights, x: np.ndarray, d: int) -> float:
    handed, own = _layers(w, "transfer", _layers(w, "common", x)), _layers(w, "own", x, d)
    value, key, query = [], [], []
    for u in (handed, own):
        v, k, q = np.split(u @ w["attention.0.weight"][d] + w["attention.0.bias"][d], 3)
        value.append(v), key.append(k), query.append(q)
    weight = _softmax(np.array([k @ q / np.sqrt(len(k)) for k, q in zip(key, query, strict=True)]))
    return float(_layers(w, "tower", weight[0] * value[0] + weight[1] * value[1], d, last=False)[0])


def normalised(w: Weights, x: np.ndarray, d: int, mean: np.ndarray, var: np.ndarray) -> np.ndarray:
    """Partitioned normalisation of STAR, with a domain's own mean and variance."""
    gain, shift = w["norm.gain"] * w["norm.gain.domain"][d], w["norm.shift"] + w["norm.shift.domain"][d]
    return gain * (x - mean) / np.sqrt(var + 1e-5) + shift


def star(w: Weights, x: np.ndarray, d: int) -> float:
    count = sum(name.startswith("star.") and name.endswith(".domain.bias") for name in w)
    h = normalised(w, x, d, w["norm.mean"][d], w["norm.var"][d]) if "norm.mean" in w else x
    for i in range(count):
        matrix = w[f"star.{i}.weight"] * w[f"star.{i}.domain.weight"][d]
        h = h @ matrix + w[f"star.{i}.bias"] + w[f"star.{i}.domain.bias"][d]
        h = np.maximum(h, 0) if i < count - 1 else h
    return float(h[0] + _layers(w, "auxiliary", x, last=False)[0])


def pepnet(w: Weights, x: np.ndarray, d: int) -> float:
    """User, item and domain are the first three fields, in this order."""
    width = w["embedding.user"].shape[1]
    if "gate.embedding.0.weight" in w:
        domain = x[2 * width : 3 * width]
        x = x * 2 * _sigmoid(_layers(w, "gate.embedding", np.concatenate([domain, x]), last=False))
    h, i = x, 0
    while f"deep.{i}.0.weight" in w:
        if f"gate.layers.{i}.0.weight" in w:
            h = h * 2 * _sigmoid(_layers(w, f"gate.layers.{i}", np.concatenate([x[: 2 * width], x]), last=False))
        h = h @ w[f"deep.{i}.0.weight"] + w[f"deep.{i}.0.bias"]
        h, i = (np.maximum(h, 0) if f"deep.{i + 1}.0.weight" in w else h), i + 1
    return float(h[0])
