"""Pre-train one recommender backbone, then tune and export one small prompt per domain, on Ray."""

from typing import Any

__version__ = "0.1.0"

_DOOR = ("Run", "compare", "open", "run")


def __getattr__(name: str) -> Any:
    """`run`, `open`, `compare` and `Run`, loaded once they are asked for: importing the package stays light."""
    if name not in _DOOR:
        raise AttributeError(f"module 'raytune_rec' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("raytune_rec.runs"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_DOOR])
