"""What a prompt is: the small trainable part beside a backbone. Shapes: U: 1 or T lanes, B rows, V ids, I items of the unit.

Like a backbone it owns no tensor. It says which readings of the backbone it needs and what it writes at which sites; only
`training.parts` knows both sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from raytune_rec import components
from raytune_rec.backbones.base import Outputs
from raytune_rec.schema.contract import Batch, Parameter, Reading, Site
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, Step


class Rerun(Protocol):
    """The backbone as a function of what is written at its sites: for a loss that compares several views of a row."""

    def __call__(self, sites: Mapping[Site, Tensor] | None, batch: Batch, /, view: str = "", last: bool = False) -> Outputs:
        """The outputs.

        Args:
            sites: what is written. None: what the prompt writes for these rows; for those of the step this costs nothing.
            batch: the rows of the step, or altered ones.
            view: a name that gives a view noise of its own.
            last: only `user` and `behaviour` of a sequence model are wanted.
        """


class Prompt(Protocol):
    """A prompt method.

    Class attributes:
        Options: frozen pydantic model; `numeric` and `padded` options come to `write` as (U,) tensors.
        groups: the parameter groups of its parameters, whatever its options.

    A prompt that reads who took an item says of which other items too, `lenders(readings, batch, options)` -> (U, N) ids, 0 for
    none, so that an artifact keeps what scoring needs. It may be left out.

    A prompt that writes WEIGHTS is told the backbone's parameters before it declares its own, `attach(parameters)`, and answers
    with the names of those that it changes; `change(params, name)` -> (U, *shape) is what is added to one of them. So it reaches
    inside layers without their knowing. `change_rows(params, name, ids)` -> (U, *ids.shape[1:], D) is what is added to rows of a
    table, and spares the whole one where a step asks for few; it may be left out. Other prompts leave all out.

    Args of the constructor:
        options: checked options of one lane (in a pack: of the lane whose structural options all share).
        schema: of the prepared data.
        readings: name -> what the backbone gives.
        widths: site -> width D of a vector there.
    """

    Options: type[components.Options]
    groups: frozenset[str]

    def __init__(self, options: Any, schema: DataSchema, readings: Mapping[str, Reading], widths: Mapping[Site, int]) -> None: ...

    @classmethod
    def reads(cls, options: Any) -> tuple[str, ...]:
        """Readings that it needs."""

    @classmethod
    def writes(cls, options: Any) -> Mapping[Site, int]:
        """Sites that it writes, with the number of vectors there."""

    def parameters(self) -> tuple[Parameter, ...]:
        """Its trainable tensors, true shapes."""

    def write(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step
    ) -> Mapping[Site, Tensor]:
        """What stands at each site for these rows. `tensors.once` computes what a reading alone decides once for rows that read
        the same.

        Args:
            params: own parameters by name, (U, *padded shape).
            readings: name -> detached, by its axis (`schema.contract.Reading`): (U, B, width) of the rows, or (U, V, width) of
                all users or items.
            batch: the rows; beside them all items, and in `members` the unit's own.
            options: numeric and padded options, (U,).
            step: whether this is training, and the shared noise.
        """

    def losses(
        self,
        params: Params,
        readings: Mapping[str, Tensor],
        batch: Batch,
        options: Mapping[str, Tensor],
        step: Step,
        run: Rerun,
    ) -> Mapping[str, Tensor]:
        """Further losses of the method, already weighted, name -> (U, B) per row. Empty for most."""
