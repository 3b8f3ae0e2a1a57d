"""The process of one measurement: `python -m benchmarks.sweep.child MODULE CASE`.

Imports nothing at the top: the processes that a yardstick spawns import this file again.
"""

import sys


def main(name: str, text: str) -> None:
    import json
    from dataclasses import asdict
    from importlib import import_module
    from pathlib import Path

    from benchmarks.sweep.case import Case

    case = Case(**json.loads(text))
    found = import_module(f"benchmarks.sweep.{name}").run(case)
    (Path(case.scratch) / "measured.json").write_text(json.dumps(asdict(found)))


if __name__ == "__main__":
    main(*sys.argv[1:])
