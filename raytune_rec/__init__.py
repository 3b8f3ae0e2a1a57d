"""Pre-train one recommender backbone, then tune and export one small prompt per domain, on Ray."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raytune_rec.runs import Run as Run
    from raytune_rec.runs import compare as compare
    from raytune_rec.runs import open as open
    from raytune_rec.runs import run as run

__version__ = "0.1.0"

_DOOR = ("Run", "compare", "open", "run")


def __getattr__(name: str) -> object:
    """`run`, `open`, `compare` and `Run`, loaded once they are asked for: importing the package stays light."""
    if name not in _DOOR:
        raise AttributeError(f"module 'raytune_rec' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("raytune_rec.runs"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_DOOR])
