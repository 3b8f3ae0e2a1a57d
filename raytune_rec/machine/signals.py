"""How a run ends when it is told to."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_WORD = b"raytune-rec: Ended by SIGTERM. The same command goes on where this one stopped.\n"

GRACE = 2.0
"""Seconds between SIGTERM and the end of the driver, at most."""


@contextmanager
def ends_on_sigterm() -> Iterator[None]:
    """End at once, with a word: `ray job stop` sends SIGKILL 3 s after SIGTERM, and every file of a run is whole at any moment.

    Connecting to Ray sets a handler of its own: connect before. Outside the main thread it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    codes: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        codes.append(128 + number)
        # Ray's own farewell may take longer than those 3 s.
        hurry = threading.Timer(GRACE, os._exit, (128 + number,))
        hurry.daemon = True
        hurry.start()
        os.write(2, _WORD)  # print may be in the middle of a line
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except BaseException:
        if codes:  # whoever was interrupted may have made another error of it
            raise SystemExit(codes[0]) from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    if codes:
        raise SystemExit(codes[0])


@contextmanager
def told_to_end() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set while the block runs, for what ends in order. In the main thread alone."""
    told = threading.Event()
    before = {number: signal.signal(number, lambda *_: told.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
