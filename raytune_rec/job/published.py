"""Numbers that others published, for the report to show beside ours."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from raytune_rec.job.sections import Section
from raytune_rec.task import ListMetric, RowMetric

SHARE = "tuned_share"
"""Parameters that tuning trains for one unit, as a share of the backbone."""


class PublishedOptions(Section):
    """One table of numbers. Nothing is computed from them."""

    source: str = Field(description="where they stand, such as 'PLATE, Table 1'", min_length=1)
    protocol: str = Field(description="how they came about: data, split, recipe, runs; what differs from here", min_length=1)
    metric: Literal[RowMetric, ListMetric, "tuned_share"] = Field(
        "auc", description="of the test; tuned_share: parameters that are tuned, as a share of the backbone, under the unit mean"
    )
    values: dict[str, dict[str, Annotated[float, Field(ge=0, le=1e6)]]] = Field(
        description="method of this job -> unit of the results table, or mean -> number", min_length=1
    )
