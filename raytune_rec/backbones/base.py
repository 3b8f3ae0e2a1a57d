"""What a backbone is: the model that is pre-trained once and shared. Shapes: see `schema`.

A backbone owns no tensor. It declares its parameters, and computes from those that it is given, so that the same code serves one
model, T stacked models, and a frozen model with T prompts beside it.

A pass has two halves. `encode` computes what reads the parameter groups in `encoded_groups` and the batch alone; where all of
those are frozen the loop calls it once per table and indexes the result by row for the rest of the training. `forward` does the
rest, takes what the prompts wrote at the sites, and returns the outputs that the objective reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from raytune_rec import components
from raytune_rec.schema import Batch, DataSchema, Parameter, Site, SiteShape
from raytune_rec.tensors import Params, Step

Outputs = Mapping[str, Tensor]
"""What an objective or a metric reads. A CTR model gives `logit` (U, B). A sequence model gives

    items   (U, V, D) what stands for each item when it is scored, by inner product; `bias` (U, V) where it has one. For rows with
            a column `class` what stands for each class of the attribute that is predicted (`DataSchema.predicts`)
    state   (U, B, L + 1, D) the user representation before each item of the history, the last one after all of them
    user    (U, B, D) that after the whole history; `behaviour`: the same without what stands at the site USER
    logit   (U, B, K) of the batch's candidates, or (U, B, V) of all items where it has none; outside training alone
"""


class Backbone(Protocol):
    """A shared model.

    Class attributes:
        Options: frozen pydantic model of its options.
        encoded_groups: the parameter groups that `encode` reads.
        shaped_by: the sites for which its own parameters make room, so that a pre-trained one serves those it was built for
            alone.
        returns: what of its outputs an objective can be trained on.
        histories: whether its rows are users with histories (`data.sequences`).
        classes: whether it can predict an attribute of its users too: it declares a classifier, gives its `items`, and trains on
            `state` at the place after the history. May be left out, which says no.

    Args of the constructor:
        options: checked options.
        schema: of the prepared data.
        sites: what a prompt will write, so that the backbone makes room (a wider first layer); empty without a prompt.
    """

    Options: type[components.Options]
    encoded_groups: frozenset[str]
    shaped_by: frozenset[Site]
    returns: frozenset[str]
    histories: bool

    def __init__(self, options: Any, schema: DataSchema, sites: Mapping[Site, SiteShape]) -> None: ...

    @classmethod
    def takes(cls, options: Any, schema: DataSchema) -> Mapping[Site, int]:
        """The sites where it takes something, with the width D of a vector there."""

    @classmethod
    def gives(cls, options: Any, schema: DataSchema) -> Mapping[str, int]:
        """What may be read from it, frozen and detached, with the width of a row: user_features, user_vector, item_vector."""

    def parameters(self) -> tuple[Parameter, ...]:
        """Every trainable tensor, each in exactly one group."""

    def buffers(self) -> tuple[Parameter, ...]:
        """Tensors that are stored but not trained (running statistics); their group decides when they are renewed."""

    def encode(self, params: Params, batch: Batch) -> Mapping[str, Tensor]:
        """What depends on `encoded_groups` and the batch alone: name -> (U, B, ...). Readings stand here under their names."""

    def forward(
        self,
        params: Params,
        encoded: Mapping[str, Tensor],
        batch: Batch,
        sites: Mapping[Site, Tensor],
        options: Mapping[str, Tensor],
        step: Step,
    ) -> Outputs:
        """The outputs.

        Args:
            params: parameters and buffers by name, (U, *shape).
            encoded: from `encode`, for these rows.
            batch: the rows.
            sites: what the prompt wrote.
            options: numeric and padded options by name, (U,).
            step: whether this is training, and the shared noise.
        """
