"""Whether scores of rows are probabilities, which an AUC does not see."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from raytune_rec.report.words import fixed, place


def warning(results: Mapping[str, Any], before: str = "") -> str:
    """Where log loss is above that of a constant score; empty where it is nowhere, and of what has no log loss.

    The constant is the share of positives among the test rows, the best there is.
    """
    count, above = 0, []
    for unit, facts in results["units"].items():
        constant = _of_constant(facts.get("positives", 0), facts.get("n", 0))
        for name, method in results["methods"].items():
            loss = method["units"].get(unit, {}).get("logloss", {}).get("mean")
            if constant is None or loss is None:
                continue
            count += 1
            if loss > constant:
                above.append((loss - constant, f"{name} {place(unit)} ({fixed(loss)}, where a constant has {fixed(constant)})"))
    if not above:
        return ""
    remedy = "" if results["protocol"]["metric"] == "logloss" else " With training.metric = 'logloss' validation chooses by them."
    return (
        f"{before}Log loss is above that of a constant score in {len(above):,} of {count:,} results, most for {max(above)[1]}: "
        f"such scores put rows in order and are no probabilities.{remedy}"
    )


def _of_constant(positives: int, rows: int) -> float | None:
    """Log loss of the share of positives as the score of all rows; None where they have one label."""
    if not 0 < positives < rows:
        return None
    rate = positives / rows
    return -rate * math.log(rate) - (1 - rate) * math.log(1 - rate)
