"""A writer of small logs and the way from options to a store."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from raytune_rec import components
from raytune_rec.data.preparing.preparation import prepare
from raytune_rec.data.stored.store import Store
from raytune_rec.job.data import DataOptions

Make = Callable[..., Store]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """make(source, options, out=..., **data options) -> the prepared store."""

    def run(source: str, options: dict[str, Any], out: str = "store", **data: Any) -> Store:
        checked = components.options_of("data.sources", source, options)
        reader = components.component("data.sources", source)(checked)
        prepare(DataOptions(source=source, options=options, **data), reader, tmp_path / out)
        return Store.open(tmp_path / out)

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Sequence[str]], str]:
    """write(name, lines) -> path of a text file."""

    def run(name: str, lines: Sequence[str]) -> str:
        path = tmp_path / name
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return str(path)

    return run


@pytest.fixture
def douban() -> str:
    """The folder of the Douban files, where the machine has them."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("RAYTUNE_REC_DATA", beside)) / "douban"
    if not folder.is_dir():
        pytest.skip("no Douban files: set RAYTUNE_REC_DATA to the folder that holds douban/")
    return str(folder)


ITEMS = {"i0": ("Red pen", "Bic", "Pens"), "i1": ("Red pen", "Bic", "Pens"), "i2": ("Blue pen of great length", "", "Pens"),
         "i3": ("", "", ""), "i4": ("Red pen", "Uni", "Pens")}  # fmt: skip


@pytest.fixture
def shop(make: Make, write: Callable[..., str]) -> Callable[..., Store]:
    rows = [f"u{u},i{(u + k) % 5},1,{1000 * u + k}" for u in range(10) for k in range(5)]
    log = write("log.csv", ["user,item,label,ts", *rows])

    def run(out: str, items: dict[str, tuple[str, str, str]] = ITEMS, **data: Any) -> Store:
        features = write(f"{out}.csv", ["item,title,brand,kind", *(",".join((i, *texts)) for i, texts in items.items())])
        options: dict[str, Any] = {
            "files": [log], "domain": "shop", "items": {"files": [features]},
            "columns": {"user": "user", "item": "item", "label": "label", "timestamp": "ts"},
            "features": {name: {"role": "item", "kind": "text"} for name in ("title", "brand", "kind")},
        }  # fmt: skip
        return make("tabular", options, out, **data)

    return run
