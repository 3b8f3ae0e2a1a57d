"""The deep part that CTR backbones share: layers over fields, with room for prompt fields, batch norm and dropout. Shapes: see
`schema`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from raytune_rec.schema.contract import Parameter
from raytune_rec.tensors import Params, Step, dropout, linear, ones, xavier, zeros

_GROUP = "interaction"
_MOMENTUM = 0.1


@dataclass(frozen=True)
class Deep:
    """The first layer is kept as two matrices, that of the own fields and that of the prompt fields, so that the share of the own
    fields (`first`) can be computed once.

    Args:
        fields, prompts: widths of the own fields and of the prompt fields, side by side; 0: none.
        hidden: widths of the layers.
        batch_norm: before each activation.
    """

    fields: int
    prompts: int
    hidden: tuple[int, ...]
    batch_norm: bool

    def parameters(self) -> list[Parameter]:
        first = [Parameter("deep.0.fields", (self.fields, self.hidden[0]), _GROUP, xavier)]
        if self.prompts:
            first.append(Parameter("deep.0.prompt", (self.prompts, self.hidden[0]), _GROUP, xavier))
        further = [Parameter(f"deep.{i}.weight", (a, b), _GROUP, xavier) for i, (a, b) in enumerate(pairwise(self.hidden), 1)]
        if not self.batch_norm:
            return [*first, *further, *(Parameter(f"deep.{i}.bias", (h,), _GROUP, zeros) for i, h in enumerate(self.hidden))]
        gains = [Parameter(f"norm.{i}.gain", (h,), _GROUP, ones) for i, h in enumerate(self.hidden)]
        shifts = [Parameter(f"norm.{i}.shift", (h,), _GROUP, zeros) for i, h in enumerate(self.hidden)]
        return [*first, *further, *gains, *shifts]

    def buffers(self) -> tuple[Parameter, ...]:
        if not self.batch_norm:
            return ()
        means = [Parameter(f"norm.{i}.mean", (h,), _GROUP, zeros) for i, h in enumerate(self.hidden)]
        return (*means, *(Parameter(f"norm.{i}.var", (h,), _GROUP, ones) for i, h in enumerate(self.hidden)))

    def first(self, params: Params, fields: Tensor) -> Tensor:
        """(U, B, H) of the own fields (U, B, fields)."""
        return linear(fields, params["deep.0.fields"])

    def __call__(
        self,
        params: Params,
        first: Tensor,
        prompts: Tensor | None,
        options: Mapping[str, Tensor],
        weight: Tensor,
        step: Step,
        each: int = 1,
    ) -> Tensor:
        """(U, B, H) after the last layer.

        Args:
            first: of the own fields. prompts: (U, B, prompts) beside them. weight: (U, B), 0 of what is no row.
            each: how many stand behind one another for each row of the batch, which has one noise for them together.
        """
        hidden = first
        for i in range(len(self.hidden)):
            # the norm's shift stands in for the bias, whose gradient before a norm is zero
            bias = None if self.batch_norm else params[f"deep.{i}.bias"]
            if i:
                hidden = linear(hidden, params[f"deep.{i}.weight"], bias)
            elif bias is not None:
                hidden = hidden + bias.unsqueeze(1)
            if prompts is not None and not i:
                hidden = hidden + linear(prompts, params["deep.0.prompt"])
            hidden = torch.relu(self._norm(params, hidden, i, step, weight))
            rows = hidden.reshape(len(hidden), -1, each * hidden.shape[2])
            hidden = dropout(rows, options["dropout"], step, f"deep.{i}").reshape(-1, *hidden.shape[1:])
        return hidden

    def _norm(self, params: Params, x: Tensor, i: int, step: Step, weight: Tensor) -> Tensor:
        """Batch norm of (U, B, H) over the real rows of B; a frozen one uses its stored statistics."""
        if not self.batch_norm:
            return x
        mean, var = params[f"norm.{i}.mean"], params[f"norm.{i}.var"]
        if step.training and _GROUP in step.trained:
            rows = weight.sum(1, keepdim=True)  # (U, 1)
            share = (weight / rows.clamp(min=1)).unsqueeze(-1)
            batch_mean = (x * share).sum(1)
            batch_var = ((x - batch_mean.unsqueeze(1)).square() * share).sum(1)
            momentum = _MOMENTUM * (rows > 0)  # a lane without rows in this step stays as it was
            step.updates[f"norm.{i}.mean"] = (mean + momentum * (batch_mean - mean)).detach()
            step.updates[f"norm.{i}.var"] = (var + momentum * (batch_var - var)).detach()
            mean, var = batch_mean, batch_var
        x = (x - mean.unsqueeze(1)) * torch.rsqrt(var.unsqueeze(1) + 1e-5)
        return x * params[f"norm.{i}.gain"].unsqueeze(1) + params[f"norm.{i}.shift"].unsqueeze(1)
