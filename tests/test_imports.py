"""The shape of the code: imports point one way, heavy libraries stay where they belong, files stay small."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_PACKAGE = _ROOT / "raytune_rec"

# Lowest first. Parts of one layer may not see each other.
_LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "task", "names", "heartbeat"),
    ("storage",),
    ("machine",),
    ("schema",),
    ("tensors", "components"),
    ("axes",),
    ("job",),
    ("config",),
    ("data", "artifacts"),
    ("backbones",),
    ("prompts", "objectives", "evaluation"),
    ("tasks", "strategies"),
    ("training",),
    ("pretraining", "tuning", "scoring"),
    ("report", "serving"),
    ("trackers",),
    ("stages", "tracking"),
    ("pipeline",),
    ("runs", "submission"),
    ("command",),
    ("cli",),
    ("__main__",),
)
# Likewise the rooms of a part, or of a room; "" stands for the files beside them.
_ROOMS: dict[str, tuple[tuple[str, ...], ...]] = {
    "data": (("",), ("files",), ("text",), ("sources",), ("preparing", "stored")),
    "data/preparing": (("disk",), ("coding",), ("",)),
    "evaluation": (("metrics", "uncertainty"), ("measures",), ("",)),
    "stages": (("",), ("checks",)),
    "tuning": (("",), ("search",), ("packs",), ("run",)),
    "report": (("",), ("tables",), ("pictures",), ("page",)),
}
_LEVEL = {part: level for level, parts in enumerate(_LAYERS) for part in parts}
_RAY = {"pretraining", "tuning", "serving", "submission"}
_FILES = sorted(_PACKAGE.rglob("*.py"))


def _part(path: Path) -> str:
    first = path.relative_to(_PACKAGE).parts[0]
    return first.removesuffix(".py")


def _imports(path: Path) -> Iterator[str]:
    """Dotted names of everything that a file imports, at any depth of the code, for types too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write it out"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _own(path: Path) -> Iterator[str]:
    """The parts of this package that a file imports."""
    for name in _imports(path):
        if name.startswith("raytune_rec."):
            yield name.split(".")[1]


@pytest.mark.parametrize("path", _FILES, ids=lambda p: str(p.relative_to(_ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    part = _part(path)
    if part == "__init__":
        assert not list(_own(path))
        return
    assert part in _LEVEL, f"{part}: a new part of the package; give it its place in _LAYERS"
    for other in _own(path):
        if other == part or other == "__version__":
            continue
        assert other in _LEVEL, f"{path}: imports raytune_rec.{other}, which has no place in _LAYERS"
        assert _LEVEL[other] < _LEVEL[part], f"{path}: {part} may not import {other}"


def _room(folder: Path, path: Path) -> str:
    names = path.relative_to(folder).parts
    return names[0] if len(names) > 1 else ""


@pytest.mark.parametrize("part", _ROOMS)
def test_rooms_point_one_way(part: str) -> None:
    level = {room: place for place, rooms in enumerate(_ROOMS[part]) for room in rooms}
    folders = {path.name for path in (_PACKAGE / part).iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders | {""} == set(level), f"{part}: a new room; give it its place in _ROOMS"
    for path in (_PACKAGE / part).rglob("*.py"):
        room = _room(_PACKAGE / part, path)
        for name in _imports(path):
            target = _PACKAGE.parent / Path(*name.split("."))
            module = target if target.with_suffix(".py").exists() else target.parent
            if module.is_relative_to(_PACKAGE / part) and module.with_suffix(".py").exists():
                other = _room(_PACKAGE / part, module.with_suffix(".py"))
                assert other == room or level[other] < level[room], f"{path}: {part}/{room} may not import {name}"


# What moves, lists, locks or removes files: modules, functions of `os`, methods of paths.
_OF_STORAGE = {"shutil", "tempfile", "fcntl", "glob"}
_OF_OS = {
    "replace",
    "rename",
    "renames",
    "link",
    "symlink",
    "remove",
    "unlink",
    "rmdir",
    "removedirs",
    "mkdir",
    "makedirs",
    "walk",
}
_OF_PATHS = {
    "rename",
    "unlink",
    "rmdir",
    "mkdir",
    "glob",
    "rglob",
    "iterdir",
    "touch",
    "write_bytes",
    "symlink_to",
    "hardlink_to",
}
_BESIDE = {("command/doctor.py", "shutil")}
"""It asks for a program, and how full a disk is."""


def _touches(path: Path) -> Iterator[str]:
    """What a file does to files by itself."""
    yield from (name for name in _top_names(path) if name in _OF_STORAGE)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        module, name = getattr(node.func.value, "id", ""), node.func.attr
        of_path = module != "os" and (name in _OF_PATHS or (name == "replace" and len(node.args) == 1 and not node.keywords))
        if of_path or (module == "os" and name in _OF_OS | {"listdir", "scandir", "fsync"}):
            yield f"{module}.{name}"


def test_storage_alone_moves_lists_locks_and_removes_files() -> None:
    outside = [path for path in _FILES if _part(path) != "storage"]
    touched = {(path.relative_to(_PACKAGE).as_posix(), what) for path in outside for what in _touches(path)}
    assert sorted(touched - _BESIDE) == [], "use raytune_rec.storage"
    assert any(list(_touches(path)) for path in _FILES if _part(path) == "storage"), "the test sees what it looks for"


def _top_names(path: Path) -> set[str]:
    return {name.split(".")[0] for name in _imports(path)}


def test_ray_stays_where_it_belongs() -> None:
    assert [str(p) for p in _FILES if "ray" in _top_names(p) and _part(p) not in _RAY] == []


def test_nothing_pickles_and_nothing_imports_transformers() -> None:
    banned = {"transformers", "pickle", "cloudpickle", "joblib", "dill"}
    assert [(str(p), sorted(banned & _top_names(p))) for p in _FILES if banned & _top_names(p)] == []


@pytest.mark.parametrize(
    "code",
    [
        "import raytune_rec",
        "from raytune_rec import cli; assert cli.main(['--help']) == 0",
        "from raytune_rec import cli; assert cli.main(['run', '--help']) == 0",
        "from raytune_rec import cli; assert cli.main(['run', 'no-such-job']) == 2",
        "from raytune_rec import config, components, errors; from raytune_rec.job import shipped",
        "from raytune_rec.schema import contract, prepared, work",
    ],
)
def test_light_commands_load_neither_torch_nor_ray(code: str) -> None:
    check = "import sys; heavy = {'torch', 'ray', 'pandas', 'pyarrow', 'optuna'} & set(sys.modules); assert not heavy, heavy"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{check}"], cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_worker_loads_what_trains_and_nothing_that_searches_or_measures() -> None:
    """Each process of a search pays for what it imports: Optuna and SciPy alone took a second and a half."""
    code = (
        "import sys; from raytune_rec.tuning.run import trainable; from raytune_rec.training import build; "
        "heavy = {'optuna', 'scipy', 'matplotlib', 'tensorboard'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=_ROOT)


def test_files_stay_small_and_named_by_nouns() -> None:
    files = [p for folder in ("raytune_rec", "tests", "benchmarks") for p in (_ROOT / folder).rglob("*.py")]
    most = {p: 350 if _PACKAGE in p.parents else 500 for p in files}
    assert [str(p) for p in files if len(p.read_text(encoding="utf-8").splitlines()) > most[p]] == []
    assert [str(p) for p in files if p.stem in {"utils", "util", "helpers", "helper", "misc", "common"}] == []


def test_a_folder_holds_a_dozen_modules_at_most() -> None:
    """A folder of components holds as many as there are."""
    modules = [p for p in _FILES if p.stem != "__init__" and p.parent.name not in ("backbones", "prompts", "objectives")]
    counts = Counter(p.parent.relative_to(_ROOT).as_posix() for p in modules)
    assert {folder: count for folder, count in counts.items() if count > 12} == {}
