"""`python -m benchmarks.same`: see the package's own words."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import same
from benchmarks.mistakes import told
from benchmarks.same import jobs
from benchmarks.same.contents import contents, renames
from raytune_rec.errors import ArtifactError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.same", description=(same.__doc__ or "").split("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    keep = verbs.add_parser("keep", help="run the jobs")
    keep.add_argument("--out", type=Path, required=True, help="a new folder")
    keep.add_argument("--data", type=Path, help="the folder of douban/, movielens-1m/ and amazon2014-5core/")
    compare = verbs.add_parser("compare", help="two such folders")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    options = parser.parse_args()
    if options.verb == "keep":
        if options.out.exists():
            parser.error(f"--out {options.out}: exists; name a new folder")
        jobs.keep(options.out.absolute(), options.data and options.data.absolute())
        return 0
    return 0 if _compared(options.before, options.after) else 1


def _compared(before: Path, after: Path) -> bool:
    """Whether each job's values are the same. What is only in `after` is told, and no difference."""
    same_values = True
    if empty := [folder for folder in (before, after) if not [*folder.glob("*/job.toml")]]:
        raise ArtifactError(f"{folder}: holds no runs; name a folder that `keep --out` has made." for folder in empty)
    for job in sorted(path.parent.name for path in before.glob("*/job.toml")):
        old, new = contents(before / job, renames()), contents(after / job, {})
        wrong = [place for place, value in old.items() if new.get(place) != value]
        added = [place for place in new if place not in old]
        print(f"{job}: {len(old)} values, {len(wrong)} differ, {len(added)} are new")
        for place in wrong[:20]:
            print(f"  {place}: {old[place][:80]} -> {new.get(place, 'missing')[:80]}")
        same_values &= bool(old) and not wrong
    return same_values


if __name__ == "__main__":
    with told():
        sys.exit(main())
