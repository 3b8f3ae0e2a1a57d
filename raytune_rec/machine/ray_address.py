"""Where a run finds its Ray: what RAY_ADDRESS says, and whether a cluster answers there.

Ray itself asks an address that nobody answers for ever. It is asked here first, with limits, and in a process of its own.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

from raytune_rec.machine.finding import Finding

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
"""Until a cluster has to have answered; loading Ray takes some of it."""

_PORTS = range(1024, 65536)
"""That Ray takes."""

_ELSE = "or unset RAY_ADDRESS to start Ray on this machine"
TOKEN = (
    "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with the cluster's token (on its head node: ~/.ray/auth_token)"
)
"""What to do where a cluster asks for one."""
_ASK = """
import sys
import ray
from ray._private import services
from ray._raylet import GcsClient
from ray._common.usage.usage_lib import get_cluster_metadata
address = services.canonicalize_bootstrap_address(sys.argv[1])
if address is None:
    sys.exit("nobody")
facts = get_cluster_metadata(GcsClient(address=address))
print("ray", facts["ray_version"], facts["python_version"], ray.__version__, sys.version.split()[0])
"""


def is_local(environment: Mapping[str, str]) -> bool:
    """Whether a run starts its own Ray."""
    return environment.get("RAY_ADDRESS", "") in ("", "local")


def look(environment: Mapping[str, str]) -> Finding:
    """Whether a run can work where RAY_ADDRESS says. Asking a cluster takes seconds, and never more than half a minute."""
    address = environment.get("RAY_ADDRESS", "")
    if is_local(environment):
        return Finding("address", "ok", "RAY_ADDRESS names no cluster: a run starts Ray on this machine")
    if address != "auto":
        place = parse(address)
        problem = place if isinstance(place, str) else _unreached(address, *place)
        if problem:
            return Finding("address", "wrong", problem)
    return _answer(address, environment)


def parse(address: str) -> tuple[str, int] | str:
    """Host and port of a cluster's address, or what is wrong with it."""
    given = f"RAY_ADDRESS = {address!r}"
    scheme, _, rest = address.partition("://")
    if rest or "://" in address:
        return f"{given}: {_scheme(scheme.lower(), address)}, {_ELSE}."
    if _is_v6(address) or _is_v6(address.rpartition(":")[0]):
        return f"{given}: an IPv6 address stands in brackets, [host]:port, for example [fd00::2]:6379; mend it, {_ELSE}."
    match = re.fullmatch(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<host>[^\s\[\]:/@]+))(?::(?P<port>.*))?", address)
    if match is None:
        return f"{given}: is not the address of a cluster; write host:port, for example 10.0.0.5:6379, {_ELSE}."
    if match["v6"] is not None and not _is_v6(match["v6"]):
        return f"{given}: what stands in brackets is no IPv6 address; mend it, {_ELSE}."
    host, port = match["v6"] or match["host"], match["port"]
    if not port:
        return f"{given}: names no port; set RAY_ADDRESS={_joined(host, 6379)} (6379 where `ray start --head` chose it), {_ELSE}."
    if not (port.isascii() and port.isdigit() and int(port) in _PORTS):
        return f"{given}: a port is a number from {_PORTS[0]} to {_PORTS[-1]}; mend it, {_ELSE}."
    return host, int(port)


def _scheme(scheme: str, address: str) -> str:
    try:
        host = urlsplit(address).hostname or "host"
    except ValueError:
        host = "host"
    mended = f"set RAY_ADDRESS={_joined(host, 6379)} (6379 where `ray start --head` chose it)"
    if scheme in ("http", "https"):
        return f"is the address of a dashboard, which `ray job submit` takes; a run needs the cluster's own: {mended}"
    if scheme == "ray":
        return f"is Ray Client's, and a run has to be a part of the cluster; on one of its machines {mended}"
    return f"{scheme}:// is no address of a cluster; {mended}"


def _unreached(address: str, host: str, port: int) -> str:
    """Why nobody can be reached there; empty where somebody listens."""
    try:
        with socket.create_connection((host, port), CONNECT_SECONDS):
            return ""
    except socket.gaierror as error:
        reason = f"no machine of the name {host!r} is known ({error.strerror})"
    except TimeoutError:
        reason = f"nobody answered within {CONNECT_SECONDS:g} s"
    except (OSError, UnicodeError) as error:  # a name too long for a network is no text to Python's codec
        reason = f"nobody can be reached ({getattr(error, 'strerror', None) or error})"
    return f"RAY_ADDRESS = {address!r}: {reason}; start that cluster, set RAY_ADDRESS to one that runs, {_ELSE}."


def _answer(address: str, environment: Mapping[str, str]) -> Finding:
    """What the cluster itself says."""
    given = f"RAY_ADDRESS = {address!r}"
    words = [sys.executable, "-c", _ASK, address]
    try:
        done = subprocess.run(words, env=dict(environment), capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        reason = f"there is no answer as of Ray within {ANSWER_SECONDS:g} s"
        return Finding("address", "wrong", f"{given}: {reason}; set RAY_ADDRESS to a cluster that runs, {_ELSE}.")
    said = done.stdout.split()
    if done.returncode == 0 and len(said) == 5 and said[0] == "ray":
        return _versions(given, *said[1:])
    last = (done.stderr.strip().splitlines() or [f"its process ended with {done.returncode}"])[-1]
    if last in ("nobody", "") or "Could not find any running Ray" in last:
        return Finding("address", "wrong", f"{given}: no Ray runs on this machine; start one by `ray start --head`, {_ELSE}.")
    if "AuthenticationError" in done.stderr or "uthentication token" in done.stderr:
        return Finding(
            "address", "wrong", f"{given}: this cluster asks for a token, and there is none, or a wrong one; {TOKEN}, {_ELSE}."
        )
    return Finding(
        "address", "wrong", f"{given}: no Ray answers there ({last}); set RAY_ADDRESS to a cluster that runs, {_ELSE}."
    )


def _versions(given: str, ray: str, python: str, own_ray: str, own_python: str) -> Finding:
    """Ray takes no part of another version of itself or of Python."""
    if ray != own_ray or python.split(".")[:2] != own_python.split(".")[:2]:
        text = f"the cluster has Ray {ray} on Python {python}, this environment Ray {own_ray} on Python {own_python}"
        return Finding("address", "wrong", f"{given}: {text}; install the same here (pip install ray=={ray}), {_ELSE}.")
    return Finding("address", "ok", f"{given}: a cluster of Ray {ray}, Python {python}, answers")


def _is_v6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text.partition("%")[0]).version == 6
    except ValueError:
        return False


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
