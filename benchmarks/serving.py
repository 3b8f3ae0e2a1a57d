"""`raytune-rec serve` under load: latencies and errors of requests while prompts are added, replaced and removed.

    python -m benchmarks.serving RUN [--requests 1000] [--clients 16] [--rows 1] [--pause 0.1] [--port 8000] [--out FILE]

RUN is a finished run of labelled rows. The service is started as a user starts it, and ended. Each client sends its next request
when it has the answer to the last; rows are users and items of the run's vocabularies, drawn at random, over all its prompts.
Meanwhile one more client adds a prompt, replaces it, and removes it, some time apart. An error is any answer but 200 (201, 204).

The seconds are those of the clock, and clients and service share the machine: the load of it is told beside them.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.mistakes import at_least
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import UserError
from raytune_rec.scoring.prompts import artifacts_of
from raytune_rec.storage.files import write_json


def drawn_rows(backbone: Path, names: list[str], count: int, rows: int) -> list[list[dict[str, Any]]]:
    """Rows of each request: users and items that training knew, each item in its domain where domains have items of their own."""
    store, draw = Store.open(backbone / "data", complete=False), random.Random(0)
    context = [field.name for field in store.schema.fields if field.kind == "categorical" and field.role == "context"]
    known = {name: store.vocabulary(name)["raw"].to_pylist() for name in ("user", *context)}
    items, domains = store.lookup.catalogue

    def row() -> dict[str, Any]:
        item = draw.randrange(1, len(items))
        domain = store.schema.domains[domains[item] - 1] if domains[item] else draw.choice(names)
        return {**{name: draw.choice(values) for name, values in known.items()}, "item": items[item], "domain": domain}

    return [[row() for _ in range(rows)] for _ in range(count)]


class Client:
    """Asks over one connection, which stays open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[float, int, bytes]:
        """Seconds, status and body of the answer."""
        begun = time.perf_counter()
        self._connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        read = answer.read()
        return time.perf_counter() - begun, answer.status, read


def change(port: int, path: str, pause: float, ended: threading.Event, changes: list[tuple[float, int]]) -> None:
    """Add, replace and remove a prompt until the others have ended."""
    client = Client(port)
    number = 0
    while not ended.is_set():
        for method, body in (("PUT", {"path": path}), ("PUT", {"path": path}), ("DELETE", None)):
            changes.append(client.ask(method, f"/prompts/added-{number % 7}", body)[:2])
            ended.wait(pause)
        number += 1


def measured(port: int, requests: list[list[dict[str, Any]]], clients: int, path: str, pause: float) -> dict[str, Any]:
    local, changes, ended = threading.local(), list[tuple[float, int]](), threading.Event()

    def ask(rows: list[dict[str, Any]]) -> tuple[float, int, bytes]:
        if not hasattr(local, "client"):
            local.client = Client(port)
        return local.client.ask("POST", "/score", {"rows": rows})

    ask(requests[0])
    changer = threading.Thread(target=change, args=(port, path, pause, ended, changes))
    before = os.getloadavg()[0]
    changer.start()
    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(ask, requests))
    seconds = time.perf_counter() - begun
    ended.set()
    changer.join()
    wrong = [(status, body[:200].decode()) for _, status, body in answers if status != 200]
    failed = [status for _, status in changes if status not in (200, 201, 204)]
    spent, changed = (1e3 * np.array([each[0] for each in some]) for some in (answers, changes))
    return {
        "requests": len(requests), "rows": len(requests[0]), "clients": clients, "errors": len(wrong) + len(failed),
        "first error": wrong[:1] + failed[:1],
        "p50 ms": float(np.percentile(spent, 50)), "p99 ms": float(np.percentile(spent, 99)),
        "requests per s": len(requests) / seconds, "changes": len(changes), "p50 of a change ms": float(np.median(changed)),
        "load before": before, "load after": os.getloadavg()[0], "processors": os.cpu_count(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--requests", type=at_least(1), default=1_000)
    parser.add_argument("--clients", type=at_least(1), default=16)
    parser.add_argument("--rows", type=at_least(1), default=1, help="of a request")
    parser.add_argument("--pause", type=float, default=0.1, help="between changes, in seconds")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    try:
        backbone, artifacts = artifacts_of(given.run)
    except UserError as error:
        parser.error(str(error))
    requests = drawn_rows(backbone, list(artifacts), given.requests, given.rows)
    words = [sys.executable, "-m", "raytune_rec", "serve", str(given.run), "--port", str(given.port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as service:
        try:
            assert service.stdout is not None
            if not any("ready" in line for line in service.stdout):
                raise SystemExit("the service did not start; its own words stand above.")
            figures = measured(given.port, requests, given.clients, str(next(iter(artifacts.values())).absolute()), given.pause)
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(120)
    print(json.dumps({"prompts": len(artifacts), **figures}, indent=2))
    if given.out:
        write_json(given.out, figures)


if __name__ == "__main__":
    main()
