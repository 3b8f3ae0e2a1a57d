"""What texts of items are worth is told by `prepare`, by `check` of a run folder, and on the page."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from raytune_rec import pipeline
from raytune_rec.config import parse
from raytune_rec.stages.checks import check


def test_the_page_shows_them(page: str) -> None:
    table = page[page.index('<h2 id="texts">Item texts</h2>') :]
    table = table[: table.index("</figure>")]
    cells = ("100 %", "12.50", "\N{EN DASH}", "2.00", "10 %", "3.00")
    assert "title<small>music</small>" in table and "to pre-train title; to tune title" in table
    assert [table.index(f"<td>{cell}</td>") for cell in cells] == sorted(table.index(f"<td>{cell}</td>") for cell in cells)


def test_prepare_and_check_of_its_run_folder_print_them(tmp_path: Path) -> None:
    rows = [f"u{u},i{(u + k) % 8},1,{1000 * u + k}" for u in range(16) for k in range(5)]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,label,timestamp", *rows]) + "\n")
    (tmp_path / "items.csv").write_text("\n".join(["item,title", *(f"i{i},pen number {i}" for i in range(8))]) + "\n")
    options = {
        "files": str(tmp_path / "log.csv"), "domain": "pens", "items": {"files": str(tmp_path / "items.csv")},
        "columns": {name: name for name in ("user", "item", "label", "timestamp")},
        "features": {"title": {"role": "item", "kind": "text"}},
    }  # fmt: skip
    values = {
        "name": "x",
        "data": {
            "source": "tabular", "options": options, "text": {"length": 8},
            "split": {"kind": "leave_one_out"}, "sequences": {"length": 4, "negatives": 2},
        },
        "backbone": {"name": "popularity"},
        "training": {"objective": "bpr", "metric": "ndcg@10"},
        "methods": {"overlap": {"strategy": "single", "backbone": "tfidf", "space": ["tfidf"]}},
    }  # fmt: skip
    job, run, said = parse(values), tmp_path / "run", []
    pipeline.run(job, run, only="prepare", say=said.append)
    line = next(line for line in said if line.startswith("title"))
    assert line.split() == ["title", "pens", "100", "%", "\N{EN DASH}", "\N{EN DASH}", "1.58", "0", "%", "3.00"]
    console = Console(file=io.StringIO(), width=200)
    console.print(check.told(job, run))
    assert line in console.file.getvalue() and "Proposed item text" in console.file.getvalue()  # type: ignore[attr-defined]
