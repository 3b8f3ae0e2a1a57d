"""PPR (Wu et al., "Personalized Prompts for Sequential Recommendation", 2022): a prefix made of the user's profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from raytune_rec import components
from raytune_rec.backbones._profile import Profile
from raytune_rec.components import numeric, padded, structural
from raytune_rec.errors import JobError
from raytune_rec.prompts.base import Rerun
from raytune_rec.schema.contract import Batch, Parameter, Reading, Site
from raytune_rec.schema.prepared import USER, DataSchema, Field
from raytune_rec.tensors import Params, Step, contrast, lane, linear, normal, xavier, zeros


class Ppr:
    """The profile of a user makes n soft tokens in front of the history (Eq. 3), and a vector that is added to the user
    representation (u_a of Eq. 4). Two contrastive losses hold the representation of the history to itself when elements of the
    profile are masked (section 3.5.1), and when items are (3.5.2).

    PPR(light) is strategy `prompt`, PPR(full) `prompt_backbone`. Without the prefix, `prompt_backbone` is the paper's
    fine-tuning, which has the profile learner too (section 4.2).

    Differs from the paper: Eq. 6 as printed lacks the temperature in the denominator; this is InfoNCE with it in both, and a
    row's own view among the candidates. The two losses are averaged. Profile learner and generator share the profile's embeddings
    x_u; the learner's last layer starts at zero, so that tuning starts from the pre-trained representation.
    """

    groups: frozenset[str] = frozenset({"prompt", "profile"})

    class Options(components.Options):
        prefix: bool = structural(True, "put the prompt tokens in front of the history (Eq. 3)")
        tokens: int = padded(4, "n, prompt tokens", ge=1, le=512)
        hidden_width: int = padded(32, "d', hidden width of the generator and of the profile learner", ge=1, le=16384)
        profile_width: int = structural(16, "width of each attribute's embedding", ge=1, le=4096)
        learner: bool = structural(True, "add the profile learner's u_a to the user representation (Eq. 4)")
        without: tuple[str, ...] = structural((), "attributes that are left out of the profile")
        views: Literal["both", "profile", "behaviour", "none"] = structural("both", "augmentations of the contrastive losses")
        profile_mask: float = numeric(0.2, "gamma_1, share of the elements of x_u that are masked", ge=0, lt=1)
        item_mask: float = numeric(0.2, "gamma_2, share of the items that are masked", ge=0, lt=1)
        temperature: float = numeric(0.5, "tau of the contrastive losses", gt=0, le=1e6)
        weight: float = numeric(0.1, "lambda, weight of the contrastive losses", ge=0, le=1e6)

    def __init__(self, options: Options, schema: DataSchema, readings: Mapping[str, Reading], widths: Mapping[Site, int]) -> None:
        self.options = options
        self.width = widths[Site.USER]
        self.profile = Profile(attributes(schema, options.without), options.profile_width)

    @classmethod
    def reads(cls, options: Options) -> tuple[str, ...]:
        return ()

    @classmethod
    def writes(cls, options: Options) -> Mapping[Site, int]:
        return {Site.PREFIX: options.prefix * options.tokens, Site.USER: int(options.learner)}

    def parameters(self) -> tuple[Parameter, ...]:
        o, inner = self.options, self.profile.width
        declared = self.profile.parameters("profile")
        if o.prefix:
            declared += [
                Parameter("generator.in.weight", (inner, o.hidden_width), "prompt", xavier),
                Parameter("generator.in.bias", (o.hidden_width,), "prompt", zeros),
                Parameter("generator.out.weight", (o.tokens, o.hidden_width, self.width), "prompt", xavier),
                Parameter("generator.out.bias", (o.tokens, self.width), "prompt", normal(0.02)),
            ]
        if o.learner:
            declared += [
                Parameter("learner.in.weight", (inner, o.hidden_width), "profile", xavier),
                Parameter("learner.in.bias", (o.hidden_width,), "profile", zeros),
                Parameter("learner.out.weight", (o.hidden_width, self.width), "profile", zeros),
                Parameter("learner.out.bias", (self.width,), "profile", zeros),
            ]
        return tuple(declared)

    def write(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step
    ) -> Mapping[Site, Tensor]:
        x = self.profile.vector(params, batch.columns)  # (U, B, d_1)
        sites = self._prefix(params, x, options)
        if self.options.learner:
            hidden = torch.relu(linear(x, params["learner.in.weight"], params["learner.in.bias"]))
            sites[Site.USER] = linear(hidden, params["learner.out.weight"], params["learner.out.bias"])
        return sites

    def _prefix(self, params: Params, x: Tensor, options: Mapping[str, Tensor]) -> dict[Site, Tensor]:
        """Eq. 3. Token i of a lane is the i-th from the end, so that lanes with fewer have theirs at the end."""
        if not self.options.prefix:
            return {}
        hidden = torch.relu(linear(x, params["generator.in.weight"], params["generator.in.bias"]))  # (U, B, H)
        weight, bias = params["generator.out.weight"], params["generator.out.bias"]  # (U, P, H, D), (U, P, D)
        lanes, count, _, width = weight.shape
        flat = linear(hidden, weight.transpose(1, 2).flatten(2), bias.flatten(1))
        tokens = flat.view(lanes, -1, count, width).flip(2)
        used = options["tokens"]
        if bool((used == count).all()):
            return {Site.PREFIX: tokens}
        real = torch.arange(count, 0, -1, device=x.device) <= used.unsqueeze(-1)  # (U, P)
        return {Site.PREFIX: tokens, Site.PREFIX_MASK: real}

    def losses(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step, run: Rerun
    ) -> Mapping[str, Tensor]:
        """Eq. 6 and 7: of the two augmentations, half each."""
        views = {"both": ("profile", "behaviour")}.get(self.options.views, (self.options.views,))
        wanted = self.options.prefix and self.options.views != "none" and bool((options["weight"] > 0).any())
        if not wanted or step.noise is None:
            return {}
        view = run(None, batch)["behaviour"]
        weight = lane(options["weight"].to(view.dtype), 2) / len(views)
        made = {"profile": self._other_profile, "behaviour": self._other_items}
        losses = {}
        for name in views:
            other = made[name](params, batch, options, step, run)
            losses[name] = weight * contrast(view, other, options["temperature"], batch.weight)
        return losses

    def _other_profile(self, params: Params, batch: Batch, options: Mapping[str, Tensor], step: Step, run: Rerun) -> Tensor:
        assert step.noise is not None
        x = self.profile.vector(params, batch.columns)
        keep = step.noise.uniform("ppr.profile", x.shape[-1]) >= lane(options["profile_mask"], 3)
        return run(self._prefix(params, x * keep, options), batch, "ppr.profile", last=True)["behaviour"]

    def _other_items(self, params: Params, batch: Batch, options: Mapping[str, Tensor], step: Step, run: Rerun) -> Tensor:
        assert step.noise is not None
        history = batch.columns["history"]
        keep = step.noise.uniform("ppr.items", history.shape[-1]) >= lane(options["item_mask"], 3)
        columns = {**batch.columns, "history": history * keep, "length": (history > 0).sum(-1)}
        prefix = self._prefix(params, self.profile.vector(params, batch.columns), options)
        return run(prefix, replace(batch, columns=columns), "ppr.items", last=True)["behaviour"]


def attributes(schema: DataSchema, without: Sequence[str]) -> tuple[Field, ...]:
    """The users' attributes in a schema, but for some.

    Raises:
        JobError: one that is to be left out does not exist, or none is left.
    """
    known = {f.name: f for f in schema.with_role("user") if f.name != USER}
    if missing := [name for name in without if name not in known]:
        names = ", ".join(known) or "none"
        raise JobError(f"prompt.without: users have no attribute {', '.join(missing)}; they have {names}.")
    left = tuple(f for name, f in known.items() if name not in without)
    if not left:
        raise JobError("the prompt is made of the users' attributes, and none is left; choose a source that has some.")
    return left
