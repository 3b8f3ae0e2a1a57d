"""What Ray needs before it is started or reached: an address, a folder for its sockets, a token.

`doctor` tells all findings; a run refuses to begin with the wrong ones, before it has done anything.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from raytune_rec.errors import MachineError
from raytune_rec.machine.finding import Finding
from raytune_rec.machine.ray_address import is_local, look
from raytune_rec.storage.files import STORAGE, scratch
from raytune_rec.storage.places import brought

_SOCKET = "ray/session_2000-01-01_00-00-00_000000_{pid}/sockets/plasma_store"
"""The longest path of a socket below a temporary folder."""
_LONGEST = 103 if sys.platform == "darwin" else 107
"""Bytes of a socket's path."""


def check(environment: Mapping[str, str]) -> None:
    """Refuse to go on where Ray could not be started or reached.

    Raises:
        MachineError: everything that is wrong, each with its remedy.
    """
    if problems := [f.text for f in findings(environment) if f.state == "wrong"]:
        raise MachineError(problems)


def findings(environment: Mapping[str, str]) -> list[Finding]:
    """The state of everything that Ray needs. A cluster is asked once nothing else is wrong."""
    token = tokens(environment)
    if is_local(environment):
        return [look(environment), folder(environment), token]
    return [token] if token.state == "wrong" else [look(environment), token]


def folder(environment: Mapping[str, str]) -> Finding:
    """The temporary folder, in which Ray keeps sockets and logs."""
    name, place = _temporary(environment)
    problem = _unfit(place)
    if not problem:
        return Finding("ray folder", "ok", f"{place / 'ray'}: can be written")
    others = (Path("/tmp"), Path(f"/tmp/ray-{os.getuid()}"), Path("/var/tmp"))
    fit = next(
        (f"RAY_TMPDIR={other}" for other in others if not _unfit(other)), "RAY_TMPDIR to a short path that you may write to"
    )
    return Finding("ray folder", "wrong", f"{name}{place}: Ray's temporary folder {problem}; set {fit}.")


def check_kept(folder: Path) -> None:
    """Refuse a run folder that Ray may remove.

    Raises:
        MachineError: it lies in what `ray job submit --working-dir` has brought.
    """
    if brought(folder):
        raise MachineError(
            f"--out {folder}: lies in the package of this Ray job, which Ray removes with all that is in it; name a URI "
            "(s3://bucket/run), or an absolute path that all machines of the cluster share."
        )


def tokens(environment: Mapping[str, str]) -> Finding:
    """How Ray asks for a token, and whether there is one."""
    mode, path, local = environment.get("RAY_AUTH_MODE", "").lower(), token_path(environment), is_local(environment)
    if mode == "disabled":
        return Finding("tokens", "note", "RAY_AUTH_MODE=disabled: who reaches a Ray of yours may run code on it. For tests only.")
    if mode not in ("", "token"):
        return Finding(
            "tokens", "wrong", f"RAY_AUTH_MODE = {mode!r}: is token or disabled; unset it, or set RAY_AUTH_MODE=token."
        )
    there = bool(environment.get("RAY_AUTH_TOKEN")) or path.is_file()
    if not there and not local and mode:
        how = "set RAY_AUTH_TOKEN_PATH to a file with the cluster's token (on its head node: ~/.ray/auth_token)"
        return Finding("tokens", "wrong", f"RAY_AUTH_MODE=token, and no token at {path}; {how}.")
    if not environment.get("RAY_AUTH_TOKEN") and (mode or local) and (problem := _no_token(path)):
        return Finding("tokens", "wrong", problem)
    if mode:
        text = "there is a token" if there else f"a run makes the token {path} (as does ray get-auth-token --generate)"
        return Finding("tokens", "ok", f"RAY_AUTH_MODE=token, and {text}")
    if there:
        return Finding("tokens", "note", "a token but RAY_AUTH_MODE is not set; set it to token before ray job submit.")
    text = f"a local Ray makes its own token at {path}" if local else "the cluster is asked without a token"
    return Finding("tokens", "ok", f"RAY_AUTH_MODE is not set: {text}")


def token_path(environment: Mapping[str, str]) -> Path:
    """The file with the token."""
    home = environment.get("HOME") or os.path.expanduser("~")
    where = home if home != "~" else "/"  # a user whom the system does not know has none
    return Path(environment.get("RAY_AUTH_TOKEN_PATH") or Path(where) / ".ray" / "auth_token")


def token(environment: Mapping[str, str]) -> str:
    """What a cluster is shown; empty where tokens are off or there is none."""
    if environment.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return ""
    try:
        return environment.get("RAY_AUTH_TOKEN") or STORAGE.get(token_path(environment)).decode().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def provide_token(environment: MutableMapping[str, str]) -> None:
    """Before Ray is started here: tokens are on, and there is one, in a file that nobody else reads.

    Ray itself would write one that everybody reads. A user's own RAY_AUTH_MODE and RAY_AUTH_TOKEN stand.
    """
    if environment.get("RAY_AUTH_MODE", "token").lower() != "token" or environment.get("RAY_AUTH_TOKEN"):
        return
    path = token_path(environment)
    if not path.is_file():
        STORAGE.put(path, lambda temporary: temporary.write_text(secrets.token_hex(32)), private=True)
    elif "RAY_AUTH_TOKEN_PATH" not in environment and path.stat().st_uid == os.getuid():
        path.chmod(0o600)
    environment["RAY_AUTH_TOKEN_PATH"] = str(path)


def logs(environment: Mapping[str, str]) -> Path:
    """Where the latest Ray that was started here has its logs, also after its end; `ray logs` would need a dashboard."""
    return _temporary(environment)[1] / "ray" / "session_latest" / "logs"


def _temporary(environment: Mapping[str, str]) -> tuple[str, Path]:
    """The variable that names the folder, and the folder."""
    for name in ("RAY_TMPDIR", *(["TMPDIR"] if sys.platform.startswith("linux") else [])):
        if name in environment:
            return f"{name}=", Path(environment[name])
    return "", Path("/tmp")


def _unfit(place: Path) -> str:
    """Why Ray could not keep its sockets there; empty where it can."""
    if not place.is_absolute():
        return "is no absolute path"
    longest = len(os.fsencode(place / _SOCKET.format(pid=os.getpid())))
    if longest > _LONGEST:
        return f"is too long: a socket's path has at most {_LONGEST} bytes, and Ray's would have {longest}"
    return _unwritable(place / "ray")


def _no_token(path: Path) -> str:
    """Why there is no token, and none can be made; empty where there is or can be."""
    try:
        if path.is_file():
            empty = not path.read_text(encoding="utf-8", errors="replace").strip()
            return f"{path}: the token file is empty; delete it, and a new one is made." if empty else ""
        reason = "is a folder" if path.is_dir() else _unwritable(path.parent)
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    other = Path.cwd() / "ray_auth_token"
    return f"{path}: the token file {reason}; set RAY_AUTH_TOKEN_PATH to a file that you may write, as {other}." if reason else ""


def _unwritable(place: Path) -> str:
    """Why a folder cannot be made or written; tried, since permissions do not tell all. Empty where it can."""
    try:
        there = next(p for p in (place, *place.parents) if os.path.lexists(p))
        with scratch(there):
            return ""
    except OSError as error:
        return f"cannot be made or written ({error.strerror})"
