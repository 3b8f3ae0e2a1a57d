"""What all sections of a job are made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from raytune_rec.job import flat
from raytune_rec.schema.work import Scalar

Rate = Annotated[float, Field(ge=0, le=3e38)]
"""Up to what a float32 can hold."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Name = Annotated[str, Field(max_length=200)]
TIMES = 10**5
"""Most epochs, trials and other things that are done one after the other: more is a slip of the pen."""

Flat = Annotated[dict[str, Scalar], BeforeValidator(flat.flat)]
"""Flat options."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Component(Section):
    """A component by name, with its options."""

    name: str = Field(description="component in backbones")
    options: dict[str, Any] = Field({}, description="of it: `show backbones`")
