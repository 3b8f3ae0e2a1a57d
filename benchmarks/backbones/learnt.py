"""The product's tensors of one lane, put into a plain model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from benchmarks.backbones.plain import DCN, FNN, DCNv2, Plain, XDeepFM
from benchmarks.backbones.prompts import LowRankEmbedding, LowRankLinear, Prompt

_PARTS = ("fields", "linear")
"""Of FNN's first layer, which the product adapts apart."""


def load(model: Plain, fields: Sequence[str], tensors: Mapping[str, Tensor]) -> None:
    """Args:
    model: of which every tensor is set that the product has.
    fields: names, in the order of the model's tables.
    tensors: by the product's names, tables with the model's ids.
    """
    of = {name.removeprefix("backbone."): value for name, value in tensors.items()}
    layers = [part for part in model.deep if not isinstance(part, nn.ReLU)]
    first = [of["deep.0.fields"], *(of[name] for name in ["deep.0.prompt"] if name in of)]
    if isinstance(model, FNN):
        first.append(of["deep.0.linear"])
    _put(model.bias, of["linear.bias"])
    _layer(layers[0], of, "deep.0.fields", torch.cat(first))
    if isinstance(model, FNN) and isinstance(layers[0], LowRankLinear):
        _put(layers[0].down, torch.block_diag(*(of[f"prompt.deep.0.{part}.down"] for part in _PARTS)))
        _put(layers[0].up, torch.cat([of[f"prompt.deep.0.{part}.up"] for part in _PARTS]))
    for i, layer in enumerate(layers):
        if i:
            _layer(layer, of, f"deep.{i}.weight")
        _put(_base(layer).bias, of[f"deep.{i}.bias"])
    for field, table, weight in zip(fields, model.embeddings, model.linear, strict=True):
        _table(table, of, f"embedding.{field}")
        _put(weight.weight, of[f"linear.{field}"].unsqueeze(1))
    _layer(model.output, of, "output.weight")
    _put(_base(model.output).bias, of["output.bias"])
    if isinstance(model, DCN):
        _layer(model.cross, of, "cross.fields", _with_prompt(of, "cross.{}"))
        for bias, column in zip(model.shift, _with_prompt(of, "cross.{}.bias").unbind(1), strict=True):
            _put(bias, column)
        _layer(model.last, of, "output.fields", _with_prompt(of, "output.{}"))
    if isinstance(model, DCNv2):
        for i, layer in enumerate(model.cross):
            _layer(layer, of, f"cross.{i}.weight")
            _put(_base(layer).bias, of[f"cross.{i}.bias"])
        _layer(model.last, of, "output.cross")
    if isinstance(model, XDeepFM):
        for i, layer in enumerate(model.maps):
            _layer(layer, of, f"maps.{i}")
        _layer(model.last, of, "output.maps")
    if model.prompt is not None:
        _prompt(model.prompt, of)


def _prompt(prompt: Prompt, of: Mapping[str, Tensor]) -> None:
    _put(prompt.domain.weight, of["prompt.domain"])
    first, second, last = (part for part in prompt.network if isinstance(part, nn.Linear))
    for i, layer in enumerate((first, second)):
        _put(layer.weight, of[f"prompt.user.{i}.weight"].T)
        _put(layer.bias, of[f"prompt.user.{i}.bias"])
    _put(last.weight, of["prompt.user.out.weight"].T)
    if prompt.meta is not None:
        _put(prompt.meta, of["prompt.meta"])


def _with_prompt(of: Mapping[str, Tensor], name: str) -> Tensor:
    return torch.cat([of[name.format(part)] for part in ("fields", "prompt") if name.format(part) in of])


def _layer(layer: nn.Module, of: Mapping[str, Tensor], name: str, matrix: Tensor | None = None) -> None:
    _put(_base(layer).weight, (of[name] if matrix is None else matrix).T)
    if isinstance(layer, LowRankLinear) and layer.down.shape == of[f"prompt.{name}.down"].shape:
        _put(layer.down, of[f"prompt.{name}.down"])
        _put(layer.up, of[f"prompt.{name}.up"])


def _table(table: nn.Module, of: Mapping[str, Tensor], name: str) -> None:
    _put(_base(table).weight, of[name])
    if isinstance(table, LowRankEmbedding):
        _put(table.down.weight, of[f"prompt.{name}.down"])
        _put(table.up, of[f"prompt.{name}.up"])


def _base(part: nn.Module) -> nn.Module:
    return part.base if isinstance(part, LowRankLinear | LowRankEmbedding) else part


def _put(there: Tensor, value: Tensor) -> None:
    with torch.no_grad():
        there.copy_(value)
