"""A line that is an object: in JSON, or printed by Python, as the files of Amazon of 2014 are."""

from __future__ import annotations

import ast
import json
import warnings
from typing import Any

NO_OBJECT = "neither a JSON object nor a Python dictionary"
"""The rule that a line breaks which has none."""


def object_of(text: str) -> dict[str, Any] | None:
    """A line's object, None where it has none. Lone surrogates, which Arrow cannot hold, are not looked for."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = literal(text)
    return value if isinstance(value, dict) else None


def literal(text: str) -> Any:
    """What Python has printed, None where it has not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an escape that Python does not know is no fault of the reader
            return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
