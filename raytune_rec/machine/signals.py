"""How a run ends when it is told to."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_WORD = b"raytune-rec: Ended by SIGTERM. The same command goes on where this one stopped.\n"

GRACE = 2.0
"""Seconds between SIGTERM and the end of the driver, at most."""
_AGAIN = 0.01
"""Seconds after which an end that Python took no notice of is told again."""


@contextmanager
def ends_on_sigterm() -> Iterator[None]:
    """End at once, with a word: `ray job stop` sends SIGKILL 3 s after SIGTERM, and every file of a run is whole at any moment.

    Where a signal meets the code that Python runs when an object goes (`__del__`, a weak reference's callback), what it raises is
    printed and forgotten: there SIGTERM and Ctrl-C are told again, without a traceback.

    Connecting to Ray sets a handler of its own: connect before. Outside the main thread it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    codes, again = list[int](), list[threading.Timer]()

    def end(number: int, frame: FrameType | None) -> None:
        if not codes:
            codes.append(128 + number)
            # Ray's own farewell may take longer than those 3 s.
            _later(GRACE, os._exit, 128 + number)
            os.write(2, _WORD)  # print may be in the middle of a line
        raise SystemExit(128 + number)

    def forgotten(what: sys.UnraisableHookArgs) -> None:
        if what.exc_type is KeyboardInterrupt:
            _later(_AGAIN, os.kill, os.getpid(), signal.SIGINT)  # also after the block, whose handler it is not
        elif codes and what.exc_type is SystemExit:
            again.append(_later(_AGAIN, os.kill, os.getpid(), signal.SIGTERM))
        else:
            usual(what)

    before, usual = signal.signal(signal.SIGTERM, end), sys.unraisablehook
    sys.unraisablehook = forgotten
    try:
        yield
    except BaseException:
        if codes:  # whoever was interrupted may have made another error of it
            raise SystemExit(codes[0]) from None
        raise
    finally:
        for timer in again:
            timer.cancel()
        sys.unraisablehook = usual
        signal.signal(signal.SIGTERM, before)
    if codes:
        raise SystemExit(codes[0])


def _later(seconds: float, what: Callable[..., object], *arguments: object) -> threading.Timer:
    timer = threading.Timer(seconds, what, arguments)
    timer.daemon = True
    timer.start()
    return timer


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
