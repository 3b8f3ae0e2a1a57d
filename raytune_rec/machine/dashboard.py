"""Whether the dashboard of a Ray cluster, through which jobs are submitted, answers: asked with limits, which Ray sets none."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from raytune_rec.errors import MachineError
from raytune_rec.machine.ray_address import TOKEN

ANSWER_SECONDS = 10.0
"""Until it has to have answered."""

_REACHED = "give the URL under which its dashboard is reached from here, for example http://127.0.0.1:8265 behind `ray dashboard`"


def url(address: str) -> str:
    """The URL of a dashboard as Ray's client takes it.

    Raises:
        MachineError: it is none.
    """
    if not address:
        raise MachineError(f"--address: names no cluster; {_REACHED}.")
    given = f"--address {address!r}"
    try:
        parts = urlsplit(address)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known:
        what = "is the cluster's own address, and jobs go through its dashboard" if "://" not in address else "is no such URL"
        raise MachineError(f"{given}: {what}; {_REACHED}.")
    if parts.username or parts.query or parts.fragment:
        raise MachineError(f"{given}: is more than the URL of a dashboard; leave out all but scheme, host, port and path.")
    return address.rstrip("/")


def check(address: str, token: str) -> None:
    """Refuse to go on where no dashboard of Ray answers, or answers others only.

    Args:
        address: see `url`.
        token: that is sent; empty: none.

    Raises:
        MachineError: what is wrong, with its remedy.
    """
    asked = urllib.request.Request(f"{address}/api/version", headers={"Authorization": f"Bearer {token}"} if token else {})
    given = f"--address {address!r}"
    try:
        with urllib.request.urlopen(asked, timeout=ANSWER_SECONDS) as answer:
            if "ray_version" in json.loads(answer.read(1 << 16)):
                return
            problem = "what answers there is no dashboard of Ray"
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            why = "the token that was sent is not its own" if token else "none was sent"
            raise MachineError(f"{given}: the cluster asks for a token, and {why}; {TOKEN}.") from None
        problem = f"what answers there is no dashboard of Ray (HTTP {error.code})"
    except (ValueError, TypeError, http.client.HTTPException):
        problem = "what answers there is no dashboard of Ray"
    except OSError as error:
        problem = _reason(getattr(error, "reason", error))
    raise MachineError(f"{given}: {problem}; {_REACHED}.")


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"nobody answered within {ANSWER_SECONDS:g} s"
    if isinstance(error, socket.gaierror):
        return "no machine of that name is known"
    return f"nobody can be reached ({getattr(error, 'strerror', None) or error})"
