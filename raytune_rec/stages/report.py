"""The page, the table and the TensorBoard logs of a run.

What draws is loaded where it draws: that takes a second, and training waits for nothing that comes after it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from raytune_rec.report.tables import frames
from raytune_rec.stages.context import Context
from raytune_rec.storage.fingerprint import file_sha256

FORMAT = 2


def inputs(context: Context) -> dict[str, Any]:
    return {"results": file_sha256(context.folder / "results.json")}


def outputs(context: Context) -> list[Path]:
    from raytune_rec.report import tensorboard

    return [
        context.folder / "report" / "index.html",
        *(context.folder / name for name in (frames.RESULTS, frames.TRIALS)),
        *tensorboard.files(context.folder),
    ]


def page(context: Context) -> None:
    from raytune_rec.report.page import render

    render.build(context.folder)


def run(context: Context) -> dict[str, Any]:
    from raytune_rec.report import tensorboard

    frames.write(context.folder)
    page(context)
    tensorboard.write(context.folder)
    return {}
