"""No prompt: the backbone as it is. A baseline is a method too."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from raytune_rec import components
from raytune_rec.prompts.base import Rerun
from raytune_rec.schema.contract import Batch, Parameter, Reading, Site
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, Step


class NoPrompt:
    """Writes nothing, reads nothing, has no parameter."""

    groups: frozenset[str] = frozenset()

    class Options(components.Options):
        pass

    def __init__(self, options: Options, schema: DataSchema, readings: Mapping[str, Reading], widths: Mapping[Site, int]) -> None:
        self.options = options

    @classmethod
    def reads(cls, options: Options) -> tuple[str, ...]:
        return ()

    @classmethod
    def writes(cls, options: Options) -> Mapping[Site, int]:
        return {}

    def parameters(self) -> tuple[Parameter, ...]:
        return ()

    def write(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step
    ) -> Mapping[Site, Tensor]:
        return {}

    def losses(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step, run: Rerun
    ) -> Mapping[str, Tensor]:
        return {}
