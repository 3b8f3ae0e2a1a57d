"""Checks of the machine, each one line: what was looked at, what was found, what to do about it.

Ray is looked at from outside, in a process of its own: a Ray that cannot be imported or started must not take the doctor with it.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.markup import escape

from raytune_rec.artifacts.versions import versions
from raytune_rec.command.show import console
from raytune_rec.machine import ray_start
from raytune_rec.machine.finding import Finding
from raytune_rec.machine.hardware import cpus, memory_mib
from raytune_rec.storage.files import scratch, unwritable
from raytune_rec.storage.places import address, located, shown

_START = """
import ray
from raytune_rec.tuning.run.cluster import connect
connect(1)
ray.get(ray.put(1))
ray.shutdown()
"""


def examine(out: Path, start_ray: bool) -> bool:
    """Print every finding.

    Args:
        out: folder of runs that must be writable.
        start_ray: start a Ray too (some seconds).

    Returns:
        Whether nothing is wrong.
    """
    sound = True
    marks = {"ok": "[green]ok   [/green]", "note": "[yellow]note [/yellow]", "wrong": "[red]wrong[/red]"}
    for finding in findings(out, start_ray):
        console().print(f"{marks[finding.state]}  {escape(finding.what):<10} {escape(finding.text)}", soft_wrap=True)
        sound = sound and finding.state != "wrong"
    return sound


def findings(out: Path, start_ray: bool) -> Iterator[Finding]:
    """All findings, one after the other, so that the quick ones stand while the slow ones run."""
    yield _versions(versions())
    yield _gpus()
    yield _dashboard()
    yield _storage(out)
    needs = ray_start.findings(os.environ)
    yield from needs
    if start_ray and all(finding.state != "wrong" for finding in needs):
        yield _ray()


def _versions(installed: Mapping[str, str]) -> Finding:
    text = ", ".join(f"{name} {version}" for name, version in installed.items())
    missing = [name for name, version in installed.items() if version == "not installed"]
    return Finding("versions", "wrong" if missing else "ok", text + (f"; install {', '.join(missing)}." if missing else ""))


def _gpus() -> Finding:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Finding("GPUs", "ok", f"{', '.join(names)}; torch is built for CUDA {torch.version.cuda}")
    if shutil.which("nvidia-smi") is None:
        return Finding("GPUs", "ok", f"none; {cpus()} CPUs, {memory_mib() / 1024:.1f} GiB of memory")
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    return Finding("GPUs", "note", f"there is a driver, but torch ({built}) sees no GPU; choose a build by make TORCH_INDEX=URL")


def _dashboard() -> Finding:
    needed = ("aiohttp", "aiohttp_cors", "opencensus", "opentelemetry", "prometheus_client")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        return Finding("dashboard", "wrong", f"cannot start: {', '.join(missing)} missing; pip install 'ray[default]'.")
    return Finding("dashboard", "ok", "can be imported")


def _storage(out: Path) -> Finding:
    if address(bucket := located(out)):
        problem = unwritable(bucket)
        text = f"cannot be written ({problem.strerror}); mend that, or name another --out." if problem else "writable"
        return Finding("storage", "wrong" if problem else "ok", f"{shown(bucket)}: {text}")
    place = next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())
    try:
        with scratch(place):
            pass
    except OSError as error:
        return Finding("storage", "wrong", f"{place}: cannot be written ({error.strerror}); name another folder with --out.")
    free = shutil.disk_usage(place).free / 2**30
    return Finding("storage", "ok" if free >= 2 else "note", f"{place}: writable, {free:.1f} GiB free")


def _ray() -> Finding:
    # A token for this start alone: left to itself Ray would write one into the home folder, and an examination changes nothing.
    settings = {**os.environ, "RAY_ADDRESS": "local", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _START], env=settings, capture_output=True, text=True, timeout=180, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding("ray", "wrong", f"did not start within 180 s; look for the reason in {ray_start.logs(os.environ)}.")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Finding("ray", "wrong", f"did not start: {reason}")
    return Finding("ray", "ok", "starts and answers")
