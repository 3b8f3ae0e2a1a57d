"""A lease in an object store, where there are no locks: a file that its holder renews.

Each holder puts a file of the next number into a folder, which of two callers at once one succeeds in, and writes into it again
and again. Who finds the last one silent takes the next number; who finds a number behind its own has lost. No clock is compared
with another machine's: a caller looks for as long as a holder may be silent. A holder of this machine whose process is gone is
not waited for.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import threading
import time
from _thread import interrupt_main
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGINT, SIGTERM, getsignal
from typing import Any

from raytune_rec.storage.base import Storage
from raytune_rec.storage.places import shown

BEAT = 5.0
"""Seconds between two words of a holder."""
SILENT = 30.0
"""Seconds without one after which a holder counts as dead."""


@dataclass
class Lease:
    """One caller's claim on `path`; a folder: its files are `<number>.json`."""

    storage: Storage
    path: Path
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    number: int = 0
    beats: int = 0

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Whether this caller has it, while the block runs."""
        if not self._take():
            yield False
            return
        ended = threading.Event()
        beating = threading.Thread(target=self._beat, args=(ended,), daemon=True)
        beating.start()
        try:
            yield True
        finally:
            ended.set()
            beating.join(BEAT)
            with suppress(OSError):
                self._write(released=True)

    def _take(self) -> bool:
        last = self._last()
        if last and not self._free(last):
            return False
        self.number = last + 1
        if not self.storage.put_if_absent(self._file(self.number), self._content(False)):
            return False
        if self._last() != self.number:  # a caller so slow that others came and went
            self.storage.delete(self._file(self.number))
            return False
        for path in self._files():
            if _number(path) < self.number:
                self.storage.delete(path)
        return True

    def _free(self, number: int) -> bool:
        """Whether the holder of a number has ended; watched for as long as it may be silent."""
        first, until = self._read(number), time.monotonic() + SILENT
        if first.get("released") or _gone(first):
            return True
        print(f"{shown(self.path.parent)}: held by {first.get('host')}; waiting up to {SILENT:g} s for its word", file=sys.stderr)
        while time.monotonic() < until:
            time.sleep(min(1.0, BEAT))
            now = self._read(number)
            if now.get("released"):
                return True
            if now != first or self._last() != number:
                return False
        return True

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(BEAT):
            try:
                lost = self._last() > self.number
                if not lost:
                    self.beats += 1
                    self._write(released=False)
            except OSError:  # the store answers late or not at all: the next word may come through
                continue
            if lost:
                print(f"{shown(self.path.parent)}: another raytune-rec has taken this folder over.", file=sys.stderr)
                _end()
                return

    def _write(self, released: bool) -> None:
        self.storage.put(self._file(self.number), lambda temporary: temporary.write_bytes(self._content(released)))

    def _content(self, released: bool) -> bytes:
        facts = {"token": self.token, "beat": self.beats, "released": released, "pid": os.getpid(), "host": _host()}
        return json.dumps({**facts, "machine": _machine()}).encode()

    def _read(self, number: int) -> dict[str, Any]:
        try:
            facts = json.loads(self.storage.get(self._file(number)))
        except FileNotFoundError:
            return {"released": True}
        except ValueError:
            return {}
        return facts if isinstance(facts, dict) else {}

    def _last(self) -> int:
        return max(map(_number, self._files()), default=0)

    def _files(self) -> list[Path]:
        self.storage.fetch(self.path, only=True)
        return self.storage.list(self.path, "[0-9]*.json")

    def _file(self, number: int) -> Path:
        return self.path / f"{number:06d}.json"


def _end() -> None:
    """End this process as a signal would; at once where it hears none, as a program that a shell started in the background."""
    heard = [number for number in (SIGTERM, SIGINT) if callable(getsignal(number))]
    if not heard:
        os._exit(1)
    interrupt_main(heard[0])


def _number(path: Path) -> int:
    return int(path.stem) if path.stem.isdigit() else 0


def _gone(facts: dict[str, Any]) -> bool:
    """Whether a process of this machine has ended; of another machine nothing is known."""
    if not _machine() or facts.get("machine") != _machine() or not isinstance(pid := facts.get("pid"), int):
        return False
    return pid != os.getpid() and not Path(f"/proc/{pid}").exists()


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else ""


def _machine() -> str:
    """The same for processes that see each other's numbers; empty where that is not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
