"""Versions of what made a result. Read from the installed packages' metadata: nothing is imported."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import raytune_rec

PACKAGES = ("torch", "ray", "optuna", "numpy", "pyarrow")


def versions() -> dict[str, str]:
    """Name -> version of Python, of this package and of the libraries that results depend on."""
    return {"python": platform.python_version(), "raytune_rec": raytune_rec.__version__, **{p: _version(p) for p in PACKAGES}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
