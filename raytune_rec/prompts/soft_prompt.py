"""Soft prompt (Lester et al., "The Power of Scale for Parameter-Efficient Prompt Tuning", EMNLP 2021): learnt tokens in front."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from raytune_rec import components
from raytune_rec.components import padded
from raytune_rec.prompts.base import Rerun
from raytune_rec.schema.contract import Batch, Parameter, Reading, Site
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, Step


class SoftPrompt:
    """The same n tokens stand in front of every row, of a language model or of another model over histories.

    Differs from the paper: start values are uniform in [-0.5, 0.5], its plainest choice, and no words of the vocabulary.
    """

    groups = frozenset({"prompt"})

    class Options(components.Options):
        tokens: int = padded(8, "n, prompt tokens (the paper: 1 to 150)", ge=1, le=512)

    def __init__(self, options: Options, schema: DataSchema, readings: Mapping[str, Reading], widths: Mapping[Site, int]) -> None:
        self.tokens, self.width = options.tokens, widths[Site.PREFIX]

    @classmethod
    def reads(cls, options: Options) -> tuple[str, ...]:
        return ()

    @classmethod
    def writes(cls, options: Options) -> Mapping[Site, int]:
        return {Site.PREFIX: options.tokens}

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("tokens", (self.tokens, self.width), "prompt", _uniform),)

    def write(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step
    ) -> Mapping[Site, Tensor]:
        """Token i of a lane is the i-th from the end, so that lanes with fewer have theirs at the end."""
        tokens, used = params["tokens"].flip(1), options["tokens"]
        written = {Site.PREFIX: tokens.unsqueeze(1).expand(-1, batch.label.shape[1], -1, -1)}
        count = tokens.shape[1]
        if not bool((used == count).all()):
            written[Site.PREFIX_MASK] = torch.arange(count, 0, -1, device=tokens.device) <= used.unsqueeze(-1)
        return written

    def losses(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step, run: Rerun
    ) -> Mapping[str, Tensor]:
        return {}


def _uniform(shape: tuple[int, ...], g: Generator) -> Tensor:
    return torch.rand(shape, generator=g) - 0.5
