"""PLATE's domain and user prompts (Wang et al., SIGIR 2023, section 3.2).

Shapes: U: 1 or T lanes, B rows, R meta-prompts, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

import torch
from pydantic import model_validator
from torch import Generator, Tensor

from raytune_rec import components
from raytune_rec.components import numeric, padded, structural
from raytune_rec.prompts.base import Rerun
from raytune_rec.schema.contract import Batch, Parameter, Reading, Site
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, Step, lane, linear, lookup, once, xavier, zeros


class Plate:
    """Two extra feature fields: one vector per domain, and one vector that a small network makes of the user's features.

    Fusion: the network gives weights w over R shared meta-prompts, softmax(w / temperature), and the user prompt is their
    weighted sum (Eq. 5 and 6). Generative: the network gives the vector itself. PLATE learns both in pre-training and goes on
    with them (Eq. 7); PTE keeps their place with zeros in pre-training and starts fresh (Eq. 8): that is the pre-training's
    `learn_prompt`.

    Differs from the paper: the meta-prompts are parameters of their own and not outputs of the network (as in Figure 3).
    Prompts start at zero, so that a fresh one (PTE), and that of a domain without rows, leaves the backbone's scores as they
    are: the domain prompt as such, the user prompt by a zero output layer over live hidden layers (zeros in every layer never
    learn); Fusion's meta-prompts start apart with mean zero, which is zero too under equal weights (equal ones would move as
    one). The user features are read detached, so that a prompt does not reach into the embeddings. `elastic` pre-training
    draws the number of meta-prompts in use anew each step, so that the first R of them serve any R. At a temperature near 1e-5
    (the paper's) the softmax is one-hot: its gradient vanishes, and the network stays what it was; the meta-prompts still
    learn.
    """

    groups: frozenset[str] = frozenset({"prompt"})

    class Options(components.Options):
        variant: Literal["fusion", "generative"] = structural("fusion", "how the user prompt is made")
        domain_prompt: bool = structural(True, "write the domain prompt (ablation of Figure 5)")
        user_prompt: bool = structural(True, "write the user prompt (ablation of Figure 5)")
        meta_prompts: int = padded(10, "R, meta-prompts of Fusion (Table 5: 10; studied 2..24)", ge=1, le=512)
        temperature: float = numeric(1e-5, "of the softmax over meta-prompts (the paper's best: 1e-5)", gt=0, le=1e6)
        hidden_width: int = padded(32, "H, width of the user network's layers (Table 5: 32)", ge=1, le=16384)
        hidden_layers: int = structural(2, "layers of the user network (Table 5: 2)", ge=1, le=64)
        elastic: bool = structural(False, "in training, use the first r of R meta-prompts, r drawn uniformly from 2..R each step")

        @model_validator(mode="after")
        def _writes_something(self) -> Plate.Options:
            if not (self.domain_prompt or self.user_prompt):
                raise ValueError("domain_prompt and user_prompt are both off; leave one on, or use the prompt 'none'")
            return self

    def __init__(self, options: Options, schema: DataSchema, readings: Mapping[str, Reading], widths: Mapping[Site, int]) -> None:
        self.options = options
        self.domains = len(schema.domains) + 1
        self.inner = readings["user_features"].width if options.user_prompt else 0
        self.width = widths[Site.FIELDS]

    @classmethod
    def reads(cls, options: Options) -> tuple[str, ...]:
        return ("user_features",) if options.user_prompt else ()

    @classmethod
    def writes(cls, options: Options) -> Mapping[Site, int]:
        return {Site.FIELDS: options.domain_prompt + options.user_prompt}

    def parameters(self) -> tuple[Parameter, ...]:
        parameters = self._user_parameters() if self.options.user_prompt else []
        if self.options.domain_prompt:
            parameters.insert(0, Parameter("domain", (self.domains, self.width), "prompt", zeros, "domain"))
        return tuple(parameters)

    def _user_parameters(self) -> list[Parameter]:
        o = self.options
        widths = [self.inner, *[o.hidden_width] * o.hidden_layers]
        layers = list(enumerate(pairwise(widths)))
        parameters = [Parameter(f"user.{i}.weight", shape, "prompt", xavier) for i, shape in layers]
        parameters += [Parameter(f"user.{i}.bias", (shape[1],), "prompt", zeros) for i, shape in layers]
        if o.variant == "generative":
            return [*parameters, Parameter("user.out.weight", (widths[-1], self.width), "prompt", zeros)]
        out = Parameter("user.out.weight", (widths[-1], o.meta_prompts), "prompt", zeros)
        return [*parameters, out, Parameter("meta", (o.meta_prompts, self.width), "prompt", _apart)]

    def write(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step
    ) -> Mapping[Site, Tensor]:
        prompts = []
        if self.options.domain_prompt:
            prompts.append(lookup(params["domain"], batch.columns["domain"]))  # (U, B, D)
        if self.options.user_prompt:
            prompts.append(
                once(lambda rows: self._user(params, rows, options, step), "user_features", readings["user_features"], batch)
            )
        lanes = max(p.shape[0] for p in prompts)
        return {Site.FIELDS: torch.stack([p.expand(lanes, -1, -1) for p in prompts], dim=2)}

    def _user(self, params: Params, features: Tensor, options: Mapping[str, Tensor], step: Step) -> Tensor:
        """(U, B, D) from (U, B, Fu*D)."""
        for i in range(self.options.hidden_layers):
            features = torch.relu_(linear(features, params[f"user.{i}.weight"], params[f"user.{i}.bias"]))
        out = params["user.out.weight"]  # (U, H, R)
        if self.options.variant == "generative":
            return linear(features, out)
        unused = torch.arange(out.shape[-1], device=out.device) >= lane(self._in_use(options["meta_prompts"], step), 2)
        bias = out.new_zeros(unused.shape).masked_fill_(unused, -torch.inf)  # (U, R)
        score = linear(features, out / lane(options["temperature"].to(out.dtype), 3), bias)  # the small factor is divided
        return linear(torch.softmax(score, dim=-1), params["meta"])

    def _in_use(self, count: Tensor, step: Step) -> Tensor:
        """(U,) meta-prompts in use."""
        if not (self.options.elastic and step.training and step.noise is not None):
            return count
        low = count.clamp(max=2)
        return low + torch.floor(step.noise.scalar("meta_prompts").double() * (count - low + 1))

    def losses(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step, run: Rerun
    ) -> Mapping[str, Tensor]:
        return {}


def _apart(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Glorot uniform with mean zero over the meta-prompts."""
    meta = xavier(shape, generator)
    return meta - meta.mean(0)
