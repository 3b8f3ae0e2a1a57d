"""Low-rank adapters of one backbone for each domain (LoRA: Hu et al., ICLR 2022; MLoRA: Yang et al., RecSys 2024), and its biases
and norms alone.

Shapes: U: 1 or T lanes, K and H widths of a layer, V ids, D width of an embedding, R rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import model_validator
from torch import Tensor

from raytune_rec import components
from raytune_rec.components import padded, structural
from raytune_rec.prompts.base import Rerun
from raytune_rec.schema.contract import Batch, Parameter, Reading, Site
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, Step, linear, lookup, xavier, zeros

_LAYERS = {"interaction", "output", "encoder", "decoder"}


class Adapter:
    """Adds to each matrix W (K, H) of the deep part (of a language model: of encoder and decoder) and of the output A B, with
    A (K, R) and B (R, H); likewise to each table of embeddings (V, D); and to biases and norms numbers of their own. The
    backbone stays as it is.

    At the start all of it adds zero: B is zero in layers; in tables A is, so that an id without a training row is not changed.

    Differs from the papers: one rank R for all layers, attention and feed-forward net alike, and the scale of A B is left to the
    learning rate.
    """

    groups: frozenset[str] = frozenset({"prompt"})

    class Options(components.Options):
        rank: int = padded(4, "R of the adapters of layers and tables; no larger than a layer is of use", ge=1, le=1024)
        layers: bool = structural(
            True, "adapt the matrices of the deep part (encoder, decoder), explicit interactions and output"
        )
        embeddings: bool = structural(True, "adapt the tables of embeddings")
        biases: bool = structural(False, "tune the biases and norms of the same layers; alone: layers and embeddings off")

        @model_validator(mode="after")
        def _changes_something(self) -> Adapter.Options:
            if not (self.layers or self.embeddings or self.biases):
                raise ValueError("layers, embeddings and biases are all off; leave one on, or use the prompt 'none'")
            return self

    def __init__(self, options: Options, schema: DataSchema, readings: Mapping[str, Reading], widths: Mapping[Site, int]) -> None:
        self.options = options
        self._changed: list[Parameter] = []

    @classmethod
    def reads(cls, options: Options) -> tuple[str, ...]:
        return ()

    @classmethod
    def writes(cls, options: Options) -> Mapping[Site, int]:
        return {Site.WEIGHTS: 1}

    def attach(self, parameters: Sequence[Parameter]) -> frozenset[str]:
        """Choose what is adapted, by group and shape."""
        o = self.options
        for p in parameters:
            layer, flat = p.group in _LAYERS and p.rows is None, _flat(p)
            table = p.group == "embedding" and not flat
            if (layer and not flat and o.layers) or (layer and flat and o.biases) or (table and o.embeddings):
                self._changed.append(p)
        return frozenset(p.name for p in self._changed)

    def parameters(self) -> tuple[Parameter, ...]:
        made = []
        for p in self._changed:
            if _flat(p):
                made.append(Parameter(p.name, p.shape, "prompt", zeros))
                continue
            down, up = (zeros, xavier) if p.rows else (xavier, zeros)
            *leading, last = p.shape
            made.append(Parameter(f"{p.name}.down", (*leading, self.options.rank), "prompt", down, p.rows))
            made.append(Parameter(f"{p.name}.up", (self.options.rank, last), "prompt", up))
        return tuple(made)

    def change(self, params: Params, name: str) -> Tensor:
        """(U, *shape): what is added to a tensor of the backbone."""
        return params[name] if name in params else params[f"{name}.down"] @ params[f"{name}.up"]

    def change_rows(self, params: Params, name: str, ids: Tensor) -> Tensor:
        """(U, *ids.shape[1:], D): what is added to rows of a table of the backbone."""
        down = lookup(params[f"{name}.down"], ids)
        return linear(down.flatten(1, -2), params[f"{name}.up"]).view(*down.shape[:-1], -1)

    def write(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step
    ) -> Mapping[Site, Tensor]:
        return {}

    def losses(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step, run: Rerun
    ) -> Mapping[str, Tensor]:
        return {}


def _flat(parameter: Parameter) -> bool:
    """Biases and norms; the biases of several layers or experts may stand side by side."""
    return len(parameter.shape) == 1 or parameter.name.rpartition(".")[2] == "bias"
