"""The process of one measurement: `python -m benchmarks.many.child WAY CASE`.

Imports nothing at the top: the processes that a way spawns import this file again.
"""

import sys


def main(way: str, text: str) -> None:
    import json
    from dataclasses import asdict
    from importlib import import_module
    from pathlib import Path

    from benchmarks.many.case import of_text

    case = of_text(text)
    found = import_module(f"benchmarks.many.{way}").run(case)
    (Path(case.scratch) / "measured.json").write_text(json.dumps(asdict(found)))


if __name__ == "__main__":
    main(*sys.argv[1:])
