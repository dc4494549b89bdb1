"""The rules of the house, read from the source: where imports may go, how long things are, what ships."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "mlembed"
FILES = sorted(PACKAGE.rglob("*.py"))
# Also what is not shipped has to be read.
ALL_FILES = [*FILES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "scripts").glob("*.py"))]
LONGEST_FILE, LONGEST_FUNCTION = 300, 50

# A room is a module or a folder of the package. It may import what stands above it, and itself; rooms of one line do
# not know one another: data, models and losses among them.
LAYERS = (
    "__init__ errors faults files fingerprint laps strict_json tokens progress config_types",
    "inputs locate signals staging memory compute optimization trainer_state report cache "
    "config_model config_data config_tasks config_bench config_trackers config_tune",
    "data models losses config",
    "alarms",
    "tasks export machine config_door",
    "prepare teaching step_size gradients",
    "prepare_labels starts trainer",
    "build run label_starts",
    "planning measuring label_measuring label_projection training",
    "session stages",
    "label_objective",
    "label_session",
    "evaluate_labels evaluate_mteb",
    "train evaluate bench door",
    "embed predict export_verb push render_report manage_cache runs tune check",
    "cli",
    "__main__",
)
LAYER = {room: number for number, rooms in enumerate(LAYERS) for room in rooms.split()}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(tree: ast.AST) -> Iterator[str]:
    """Rooms of the package that a file imports, at its top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            modules = [node.module or ""]
            if modules == ["mlembed"]:
                modules = [f"mlembed.{alias.name}" if alias.name in LAYER else "mlembed" for alias in node.names]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        for module in modules:
            parts = module.split(".")
            if parts[0] == "mlembed":
                yield parts[1] if len(parts) > 1 else "__init__"


def test_imports_go_one_way() -> None:
    assert len(FILES) > 80
    climbing = []
    imports = 0
    for path in FILES:
        room = room_of(path)
        for other in imported_rooms(ast.parse(path.read_text(encoding="utf-8"))):
            imports += 1
            if other != room and not LAYER[other] < LAYER[room]:
                climbing.append(f"{name(path)} imports {other}")
    assert imports > 150
    assert climbing == []


def test_every_room_has_its_place() -> None:
    assert {room_of(path) for path in FILES} == set(LAYER)
    assert sum(len(rooms.split()) for rooms in LAYERS) == len(LAYER), "a room is named twice"


def test_no_room_is_a_drawer_for_everything() -> None:
    drawers = {"util", "utils", "common", "helper", "helpers", "misc", "base", "core"}
    assert [name(path) for path in ALL_FILES if drawers & set(path.relative_to(ROOT).with_suffix("").parts)] == []


def test_files_and_functions_can_be_read_at_a_glance() -> None:
    long_files, long_functions, functions = [], [], 0
    for path in ALL_FILES:
        text = path.read_text(encoding="utf-8")
        if (lines := len(text.splitlines())) > LONGEST_FILE:
            long_files.append(f"{name(path)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions += 1
                assert node.end_lineno is not None
                if (lines := node.end_lineno - node.lineno + 1) > LONGEST_FUNCTION:
                    long_functions.append(f"{name(path)}:{node.lineno} {node.name}: {lines} lines")
    assert functions > 600
    assert (long_files, long_functions) == ([], [])


def public_without_docstring(tree: ast.Module) -> Iterator[str]:
    """Public functions, classes and methods; what is inside a function is nobody's business."""
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        label = getattr(node, "name", "the module")
        if label.startswith("_"):
            continue
        if ast.get_docstring(node) is None:
            yield label
        if not isinstance(node, ast.FunctionDef):
            nodes += node.body


def test_what_is_public_is_explained() -> None:
    missing = []
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = list(public_without_docstring(tree))
        is_empty_package = path.name == "__init__.py" and not tree.body
        missing += [] if is_empty_package else [f"{name(path)}: {label}" for label in found]
    assert missing == []
    source = "def seen(): ...\ndef _hidden(): ...\nclass C:\n  '''c'''\n  def method(self): ...\n"
    assert set(public_without_docstring(ast.parse(source))) == {"the module", "seen", "method"}, "the search finds them"


def test_module_docstrings_are_one_sentence_each() -> None:
    for path in ALL_FILES:
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        assert path.name == "__init__.py" or docstring.split("\n\n")[0].rstrip().endswith("."), name(path)


def test_no_flag_is_given_by_its_place() -> None:
    """`f(x, True)` says nothing to a reader: booleans are keyword-only."""
    called_by_others = {"_skipped_entity"}  # by expat, as it pleases
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name not in called_by_others:
                annotations = [ast.unparse(one.annotation) for one in node.args.args if one.annotation is not None]
                found += [f"{name(path)}:{node.lineno} {node.name}"] if "bool" in annotations else []
    assert found == []


def test_nothing_that_a_configuration_names_is_imported() -> None:
    """Names of objects become objects in the schema alone; see also test_no_foreign_code."""
    forbidden = {"instantiate", "get_class", "get_method", "get_object", "import_module", "_locate"}
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in forbidden:
                found.append(f"{name(path)}:{node.lineno}")
    assert found == []


def packages() -> list[str]:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = content["tool"]["setuptools"]["packages"]
    assert isinstance(listed, list)
    return listed


def test_every_folder_is_a_listed_package() -> None:
    folders = {path.parent for path in FILES}
    assert len(folders) >= 8
    assert all((folder / "__init__.py").is_file() for folder in folders)
    expected = {".".join(folder.relative_to(ROOT).parts) for folder in folders} | {"mlembed.conf"}
    assert sorted(packages()) == sorted(expected)


def test_the_wheel_has_everything_and_works_anywhere(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    source = tmp_path / "source"
    for folder in ("mlembed", "conf"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel_options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(tmp_path)]
    subprocess.run([*pip, "wheel", *wheel_options, str(source)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    shipped = set(zipfile.ZipFile(wheel).namelist())
    yamls = {f"mlembed/conf/{path.relative_to(ROOT / 'conf').as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert len(yamls) >= 20
    pages = {name(path) for path in PACKAGE.rglob("*") if path.suffix in (".html", ".j2", ".css")}
    assert len(pages) >= 3
    assert yamls | pages | {name(path) for path in FILES} <= shipped
    assert not [item for item in shipped if item.startswith(("tests", "scripts"))]
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", str(tmp_path / "site"), str(wheel)], check=True
    )
    program = "import mlembed, sys; from mlembed.cli import main; print(mlembed.__file__); sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, "train", "loss=cosine", "--cfg", "job"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path)) and "\nloss:\n  kind: cosine\n" in done.stdout
