"""What a run could not do, in lines for the table and the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raytune_rec.evaluation.comparisons import MEAN


def lines(results: Mapping[str, Any]) -> list[str]:
    """One line for each method, unit or pre-training that is missing or lacks replicates."""
    averaged = len(results["units"]) > 1 and MEAN in results["winners"]
    told = []
    for entry in results.get("missing", ()):
        alone = (
            " Without it the method has no mean over domains and is not compared there."
            if averaged and _whole(entry, results)
            else ""
        )
        told.append(entry["reason"] + alone)
    return told


def _whole(entry: Mapping[str, Any], results: Mapping[str, Any]) -> bool:
    """Whether a method has no result at all on a unit."""
    method = results["methods"].get(entry["method"])
    return method is not None and bool(entry["unit"]) and entry["unit"] not in method["units"]
