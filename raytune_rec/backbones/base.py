"""What a backbone is: the model that is pre-trained once and shared.

Shapes: U: 1 or T lanes, B rows, L places, V ids, K candidates, D width.

A backbone owns no tensor. It declares its parameters, and computes from those that it is given, so that the same code serves one
model, T stacked models, and a frozen model with T prompts beside it.

A pass has three parts. `encode_items` and `encode_users` represent all items and users by id, for backbones that read their
features. `encode` computes what reads the parameter groups in `encoded_groups` and the batch alone. Where the groups that they
read are frozen, each is called once, and its result indexed by id or by row for the rest of the training. `forward` does the
rest, takes what the prompts wrote at the sites, and returns the outputs that the objective reads.

A backbone derives from `Backbone` and says only where it differs from it: parameters, `forward`, and an attribute or two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from raytune_rec import components
from raytune_rec.schema.contract import Batch, Entities, Parameter, Reading, Site, SiteShape
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, Step

Outputs = Mapping[str, Tensor]
"""What an objective or a metric reads. A CTR model gives `logit` (U, B). A sequence model gives

    items   (U, V, D) what stands for each item when it is scored, by inner product; `bias` (U, V) where it has one. For rows with
            a column `class` what stands for each class of the attribute that is predicted (`Task.attribute`)
    state   (U, B, L + 1, D) the user representation before each item of the history, the last one after all of them
    target  (U, B, D) what stands for the one item that a row is about, where a prompt writes TARGET
    user    (U, B, D) that after the whole history; `behaviour`: the same without what stands at the site USER
    logit   (U, B, K) of the batch's candidates, or (U, B, V) of all items where it has none; outside training alone

A model that ranks by no inner product gives `Paired`.
"""


class Paired(dict[str, Tensor]):
    """Outputs of a model that scores pairs of a row and an item: a row has no state then.

    Args:
        score: (U, B, K) ids of items -> (U, B, K) scores. That which a training row is about by TARGET.
        size: V.
        outputs: `logit`, outside training.
        vectors: () -> (U, V, D), what stands for each item in its field; None: a model that has no such thing.
    """

    def __init__(
        self,
        score: Callable[[Tensor], Tensor],
        size: int,
        outputs: Outputs,
        vectors: Callable[[], Tensor] | None = None,
    ) -> None:
        super().__init__(outputs)
        self.score, self.size, self.vectors = score, size, vectors


class Backbone:
    """A shared model.

    Class attributes:
        Options: frozen pydantic model of its options.
        groups: the parameter groups of its parameters, whatever its options.
        encoded_groups, item_groups, user_groups: the parameter groups that `encode`, `encode_items` and `encode_users` read.
        shaped_by: the sites for which its own parameters make room, so that a pre-trained one serves those it was built for
            alone.
        rows_by_id: whether it reads items and users by id (`encode_items`, `encode_users`) of labelled rows too, if of any.
        reads_feedback: whether it reads who took the items, which units know and no pre-training does.
        returns: what of its outputs an objective can be trained on; `pairs` for `Paired`.
        tasks: the tasks that it serves (`task.Task`). One that serves `classes` declares a classifier of the group `output`,
            gives its `items`, and trains on `state` at the place after the history.
        most_lanes: how many lanes can stack (of a language model 1); 0: any number.
        most_rows: rows of a training pass; a larger batch is taken in pieces whose gradients are summed. 0: all at once.
        most_candidates: of each row in a scoring pass; 0: all at once.
        mixed_precision: whether it trains with bfloat16 products on a GPU, whatever the job says.

    Args of the constructor:
        options: checked options.
        schema: of the prepared data.
        sites: what a prompt will write, so that the backbone makes room (a wider first layer); empty without a prompt.
    """

    Options: type[components.Options]
    groups: frozenset[str] = frozenset()
    encoded_groups: frozenset[str] = frozenset()
    item_groups: frozenset[str] = frozenset()
    user_groups: frozenset[str] = frozenset()
    shaped_by: frozenset[Site] = frozenset()
    rows_by_id = True
    reads_feedback = False
    returns: frozenset[str] = frozenset({"logit"})
    tasks: frozenset[str] = frozenset({"rows"})
    most_lanes = 0
    most_rows = 0
    most_candidates = 0
    mixed_precision = False

    def __init__(self, options: Any, schema: DataSchema, sites: Mapping[Site, SiteShape]) -> None:
        self.options, self.schema = options, schema

    @classmethod
    def takes(cls, options: Any, schema: DataSchema) -> Mapping[Site, int]:
        """The sites where it takes something, with the width D of a vector there."""
        return {}

    @classmethod
    def gives(cls, options: Any, schema: DataSchema) -> Mapping[str, Reading]:
        """What may be read from it: user_features, user_vector, item_vector."""
        return {}

    def parameters(self) -> tuple[Parameter, ...]:
        """Every trainable tensor, each in exactly one group."""
        raise NotImplementedError

    def buffers(self) -> tuple[Parameter, ...]:
        """Tensors that are stored but not trained (running statistics); their group decides when they are renewed."""
        return ()

    def start(self) -> Mapping[str, Tensor]:
        """Start values that no pre-training of ours made, such as a language model's: name of a parameter -> tensor. What is not
        among them is drawn.
        """
        return {}

    def encode_items(self, params: Params, items: Entities) -> Mapping[str, Tensor]:
        """All items: name -> (U, V, ...). Readings of axis `item` stand here under their names."""
        return {}

    def encode_users(self, params: Params, users: Entities) -> Mapping[str, Tensor]:
        """All users: name -> (U, V, ...). Readings of axis `user` stand here under their names."""
        return {}

    def encode(self, params: Params, batch: Batch) -> Mapping[str, Tensor]:
        """What depends on `encoded_groups` and the batch alone: name -> (U, B, ...). Readings of axis `row` stand here."""
        return {}

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
            encoded: from `encode` for these rows, and from `encode_items` and `encode_users`.
            batch: the rows.
            sites: what the prompt wrote.
            options: numeric and padded options by name, (U,).
            step: whether this is training, and the shared noise.
        """
        raise NotImplementedError


def reads_entities(backbone: type[Backbone], histories: bool) -> bool:
    """Whether it reads the features of items or users by id.

    Args:
        histories: whether rows are users with histories.
    """
    encodes = backbone.encode_items is not Backbone.encode_items or backbone.encode_users is not Backbone.encode_users
    return encodes and (histories or backbone.rows_by_id)
