"""The files that start a cluster are ones that Ray and Kubernetes take, with tokens on and the versions of constraints.txt."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from raytune_rec import __version__, cli
from raytune_rec.job import shipped

_ROOT = Path(__file__).parents[1]
_PINNED = dict(re.findall(r"^([\w.-]+)==(\S+)$", (_ROOT / "constraints.txt").read_text(), re.MULTILINE))
_PLACES = ["AWS", "Google Cloud", "On premise"]


def _cluster(place: str) -> str:
    """cluster.yaml as one writes it for a place: without the parts of the others, its own part without the marks of a comment."""
    parts = re.split(r"^# ==== (\w[\w ]*)(?::.*)? ====\n", (_ROOT / "cluster.yaml").read_text(), flags=re.MULTILINE)
    named = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert list(named) == [*_PLACES, "Everywhere"]
    own = named[place] if place == "AWS" else re.sub(r"^# ", "", named[place], flags=re.MULTILINE)
    return parts[0] + own + named["Everywhere"]


def test_all_that_is_required_is_pinned() -> None:
    """So that `make test` installs what it did yesterday, and `make audit` asks about it."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    required = [each for some in (project["dependencies"], *project["optional-dependencies"].values()) for each in some]
    names = {re.split(r"[\[<>=!~; ]", each)[0].replace("_", "-") for each in required}
    assert "torch" in names and names - {name.replace("_", "-") for name in _PINNED} == set()


@pytest.mark.parametrize("place", _PLACES)
def test_the_cluster_file_is_one_that_ray_takes(place: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    cluster = yaml.safe_load(_cluster(place))
    validate_config({"cluster_synced_files": [], **cluster})
    whole = prepare_config(cluster)
    validate_config(whole)
    head = " ".join(cluster["head_start_ray_commands"])
    assert "RAY_AUTH_MODE=token" in head and "--dashboard-host=127.0.0.1" in head
    assert "--num-cpus=0 --num-gpus=0" in head
    assert "RAY_AUTH_MODE=token" in " ".join(cluster["worker_start_ray_commands"])
    assert "~/.ray/auth_token" in cluster["file_mounts"]
    kinds = whole["available_node_types"]
    if place == "On premise":  # one kind, of which the head is one
        assert [kind["min_workers"] for kind in kinds.values()] == [len(cluster["provider"]["worker_ips"])]
    else:
        assert [(kind["min_workers"], kind["max_workers"]) for kind in kinds.values()] == [(0, 0), (0, cluster["max_workers"])]


@pytest.mark.parametrize("place", _PLACES[:2])
def test_workers_are_of_the_spot_market_and_the_head_is_not(place: str) -> None:
    kinds = yaml.safe_load(_cluster(place))["available_node_types"]
    spot = {name: re.search("spot", str(kind["node_config"]), re.IGNORECASE) is not None for name, kind in kinds.items()}
    assert spot == {"head": False, "gpu_worker": True}
    assert kinds["head"]["resources"] == {"CPU": 0}


def test_every_node_reaches_the_buckets_of_its_cloud() -> None:
    """As the tutorial says: `s3://` with the package's extra, `gs://` with gcsfs, and an account that may use them."""
    aws, google = (yaml.safe_load(_cluster(place)) for place in _PLACES[:2])
    assert any('"$HOME/raytune_rec[s3]"' in command for command in aws["setup_commands"])
    for kind in ("head", "worker"):
        assert any(" gcsfs==" in command for command in google[f"{kind}_setup_commands"])
    worker = [cluster["available_node_types"]["gpu_worker"]["node_config"] for cluster in (aws, google)]
    assert "IamInstanceProfile" in worker[0] and worker[1]["serviceAccounts"][0]["scopes"]


def test_versions_are_those_of_the_constraints() -> None:
    text = "".join((_ROOT / name).read_text() for name in ("cluster.yaml", "deploy/Containerfile"))
    assert {
        name: version for name, version in re.findall(r"([\w-]+)==([\w.]+)", text) if _PINNED.get(name, version) != version
    } == {}
    for line in re.findall(r"^.*pip install.*$", text, re.MULTILINE):
        assert "--constraint" in line or "==" in line or "boto3 (" in line, line
    job = yaml.safe_load((_ROOT / "deploy" / "rayjob.yaml").read_text())
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == _PINNED["ray"]
    assert {c["image"].rpartition(":")[2] for c in _containers(job)} == {__version__}


def _containers(job: dict[str, Any]) -> list[dict[str, Any]]:
    spec = job["spec"]["rayClusterSpec"]
    return [c for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]) for c in group["template"]["spec"]["containers"]]


def _exactly(**fields: Any) -> dict[str, Any]:
    """An object of these fields and no other; those that end in _ may be left out."""
    required = [name for name in fields if not name.endswith("_")]
    properties = {name.rstrip("_"): value for name, value in fields.items()}
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _many(part: dict[str, Any], least: int = 1) -> dict[str, Any]:
    return {"type": "array", "items": part, "minItems": least}


_TEXT = {"type": "string", "minLength": 1}
_COUNT = {"type": "integer", "minimum": 0}
_NAME = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", "maxLength": 63}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_AMOUNTS = {"type": "object", "additionalProperties": {"type": "string", "pattern": r"^\d+(Mi|Gi)?$"}}
_POD = _exactly(
    spec=_exactly(
        securityContext_=_exactly(fsGroup=_COUNT),
        nodeSelector_=_TEXTS,
        tolerations_=_many(_exactly(key=_TEXT, operator={"enum": ["Exists", "Equal"]}, effect={"enum": ["NoSchedule"]})),
        containers=_many(
            _exactly(
                name=_NAME,
                image=_TEXT,
                resources=_exactly(requests=_AMOUNTS, limits=_AMOUNTS),
                volumeMounts=_many(_exactly(name=_NAME, mountPath=_TEXT)),
            )
        ),
        volumes=_many(_exactly(name=_NAME, persistentVolumeClaim=_exactly(claimName=_NAME))),
    )
)
_RAY_JOB = _exactly(  # the fields of KubeRay 1.5's ray.io/v1 that the file uses, with their types
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=_exactly(name=_NAME | {"maxLength": 47}),
    spec=_exactly(
        entrypoint=_TEXT,
        backoffLimit=_COUNT,
        shutdownAfterJobFinishes={"type": "boolean"},
        ttlSecondsAfterFinished=_COUNT,
        rayClusterSpec=_exactly(
            rayVersion=_TEXT,
            authOptions=_exactly(mode={"const": "token"}),
            enableInTreeAutoscaling={"const": True},
            autoscalerOptions=_exactly(idleTimeoutSeconds=_COUNT),
            headGroupSpec=_exactly(serviceType={"const": "ClusterIP"}, rayStartParams=_TEXTS, template=_POD),
            workerGroupSpecs=_many(
                _exactly(
                    groupName=_NAME, replicas=_COUNT, minReplicas=_COUNT, maxReplicas=_COUNT, rayStartParams=_TEXTS, template=_POD
                )
            ),
        ),
    ),
)


def test_the_job_of_kubernetes_has_the_fields_of_its_kind() -> None:
    job = yaml.safe_load((_ROOT / "deploy" / "rayjob.yaml").read_text())
    jsonschema.validate(job, _RAY_JOB)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**job, "spec": {**job["spec"], "backofLimit": 3}}, _RAY_JOB)
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]
    assert head["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}, "no pack trains on the head"
    for group in (head, *job["spec"]["rayClusterSpec"]["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_the_job_of_kubernetes_runs_a_shipped_job_on_the_volume() -> None:
    job = yaml.safe_load((_ROOT / "deploy" / "rayjob.yaml").read_text())
    command, run, name, option, setting, out, folder = shlex.split(job["spec"]["entrypoint"])
    assert (command, run, option, out) == ("raytune-rec", "run", "--set", "--out")
    assert name in shipped.names("jobs")
    files = cli.read_job(name, [setting]).data.options["files"]
    (volume,) = {mount["mountPath"] for container in _containers(job) for mount in container["volumeMounts"]}
    assert files.startswith(f"{volume}/") and folder.startswith(f"{volume}/")


def test_the_image_copies_what_there_is_and_is_nobody_special() -> None:
    lines = (_ROOT / "deploy" / "Containerfile").read_text().splitlines()
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    assert {"constraints.txt", "raytune_rec", "search_spaces", "jobs"} <= set(copied)
    assert [name for name in copied if not (_ROOT / name).exists()] == []
    assert [line for line in lines if line.startswith("FROM ")] == ["FROM docker.io/library/python:3.11-slim-bookworm"]
    assert "ENV RAY_AUTH_MODE=token" in lines and "USER 1000" in lines
