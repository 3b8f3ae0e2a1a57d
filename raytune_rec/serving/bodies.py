"""Bodies of requests and answers, as the OpenAPI page shows them. Shapes: N rows."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from raytune_rec.tasks.base import Asked

MOST_BYTES = 8 * 2**20
"""Of a request's body."""
MOST_ROWS = {"score": 10_000, "recommend": 1_000, "predict": 1_000}
"""Of a request; larger tables are for `raytune-rec score`."""


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Question(_Body):
    """What is asked of some rows.

    Attributes:
        what: which answer.
    """

    what: ClassVar[Asked]

    rows: list[dict[str, Any]] | dict[str, list[Any]] = Field(
        description="Records, or columns with a value for each row. `domain` (or `unit`) names the prompt that a row asks; rows "
        "that none serves are answered by the backbone alone, and marked.",
        examples=[[{"user": "u1", "item": "i1", "domain": "books"}]],
    )
    unknown: Literal["backbone", "raise"] = Field(
        "backbone", description="What becomes of rows with values that training did not know: answered and marked, or refused."
    )

    @model_validator(mode="after")
    def _bounded(self) -> Question:
        lengths = {name: len(values) for name, values in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of unequal length ({str(lengths)[:200]}); give one value for each row")
        most = MOST_ROWS[self.what]
        if not 0 < self.count <= most:
            raise ValueError(f"a request holds 1 to {most:,} rows (given: {self.count:,}); send them in several requests")
        return self

    @cached_property
    def columns(self) -> dict[str, list[Any]]:
        """Column -> (N,) values; None where a record has none."""
        if isinstance(self.rows, dict):
            return self.rows
        names = dict.fromkeys(name for row in self.rows for name in row)
        return {name: [row.get(name) for row in self.rows] for name in names}

    @property
    def count(self) -> int:
        """N."""
        return len(self.rows) if isinstance(self.rows, list) else max(map(len, self.rows.values()), default=0)

    @property
    def options(self) -> dict[str, Any]:
        """What is asked besides rows: keyword -> value, as of `Prompts`."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "rows"}


class ScoreAsked(Question):
    """Rows to score."""

    what = "score"


class RecommendAsked(Question):
    """Users with histories, for whom the best items are asked."""

    what = "recommend"

    k: int = Field(10, ge=1, le=1_000, description="How many items each user gets.")
    seen: bool | None = Field(None, description="Also what a user took already. Default: as the run's tests did.")


class PredictAsked(Question):
    """Users with histories, of whom an attribute is asked."""

    what = "predict"


class Answer(BaseModel):
    """What every answer tells.

    Attributes:
        unknown: (N,) names of the columns of a row that held what training did not know.
    """

    unknown: list[list[str]]


class Scored(Answer):
    """(N,) scores."""

    scores: list[float]


class Recommended(Answer):
    """(N,) items of each row and their scores, best first."""

    items: list[list[str]]
    scores: list[list[float]]


class Predicted(Answer):
    """(N,) values of the attribute and their probabilities."""

    values: list[str]
    scores: list[float]


class PromptAsked(_Body):
    """An exported prompt to serve."""

    path: str = Field(
        min_length=1,
        max_length=4_096,
        description="Folder of the artifact, within the run's folder (from which a relative one is read) or one that is allowed.",
        examples=["artifacts/books"],
    )


class Prompt(BaseModel):
    """A prompt that is served."""

    name: str
    path: str


class Served(BaseModel):
    """All prompts on a backbone."""

    backbone: str
    prompts: list[Prompt]


class Health(BaseModel):
    """The service answers."""

    status: Literal["ok"] = "ok"
    prompts: int


class Problems(BaseModel):
    """Why a request has no answer: each with the rule, the value and the remedy."""

    problems: list[str]
