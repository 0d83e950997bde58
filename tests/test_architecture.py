"""The rules of the house that can be read from the source: who imports whom, who may print, nothing happens at import."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("smear", "detection", "classification", "datasets", "benchmarks")
MODULES = sorted(path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob("*.py"))

# Rooms that a room may use besides itself; the one file of smear that puts everything together may use more.
MAY_USE = {"smear": set(), "detection": {"smear"}, "classification": {"smear"}, "datasets": {"smear"}}
MAY_USE["benchmarks"] = set(ROOMS)  # it measures all of them; nobody uses it
MAY_USE_TOO = {"smear/build.py": {"detection", "classification"}}

# Each awkward package stands behind one file of ours per room that needs it; a benchmark may take any of them bare, to compare.
HOME_OF = {
    "ultralytics": {f"detection/yolo/{name}.py" for name in ("__init__", "fields", "habits", "networks", "scores", "training")},
    "sahi": set(),
    "skimage": {"classification/features/lbp.py"},
    "albumentations": {"detection/augment.py", "classification/augment.py"},
    "roboflow": {"datasets/roboflow.py"},
    "onnxruntime": {"smear/runtimes/onnx.py", "smear/quantise.py"},
    "openvino": {"smear/runtimes/openvino.py"},
    "PIL": {"smear/images.py", "smear/regions.py"},
    "polars": {"smear/exports/parquet.py", "classification/features/parquet.py"},
    "ray": {"smear/engines/ray.py"},
    "imblearn": {"classification/classical/balance.py"},
    "optuna": {"classification/classical/search.py"},
    "skops": {"classification/classical/saving.py"},
    "pytorch_grad_cam": {"classification/explanations/cams.py"},
    "shap": {"classification/explanations/shapley.py"},
    "umap": {"classification/exploration/maps.py"},
    "timm": {"classification/networks/timm_models.py"},
}
TORCH_ROOMS = ("detection/", "classification/", "benchmarks/", "smear/runtimes/torch", "smear/device_")
PLAIN_PACKAGES = {"numpy"}  # all that the vocabulary may use
VOCABULARY = ("smear/types.py", "smear/errors.py", "smear/boxes.py", "smear/tiles.py")


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"), filename=module)


def imported_names(module: str) -> Iterator[str]:
    """Full dotted names that a file imports anywhere in it, functions included; relative ones resolved."""
    package = Path(module).parent.parts
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            yield from (".".join(part for part in (start, node.module, alias.name) if part) for alias in node.names)


def imported_packages(module: str) -> set[str]:
    return {name.split(".")[0] for name in imported_names(module)}


def is_command(module: str) -> bool:
    """Whether a public function takes the words that the user typed, or the file is one of the commands that they choose from."""
    functions = [node for node in tree_of(module).body if isinstance(node, ast.FunctionDef)]
    return module.startswith("smear/commands/") or any(argument.arg == "argv" for node in functions for argument in node.args.args)


def test_every_room_is_here() -> None:
    assert {module.split("/")[0] for module in MODULES} == set(ROOMS)


@pytest.mark.parametrize("module", MODULES)
def test_a_room_uses_only_the_rooms_below_it(module: str) -> None:
    room = module.split("/")[0]
    allowed = {room} | MAY_USE[room] | MAY_USE_TOO.get(module, set())
    assert imported_packages(module) & set(ROOMS) <= allowed


@pytest.mark.parametrize("package", sorted(HOME_OF))
def test_an_awkward_package_is_imported_in_its_one_file(package: str) -> None:
    users = {module for module in MODULES if package in imported_packages(module) and not module.startswith("benchmarks/")}
    assert users <= HOME_OF[package]


@pytest.mark.parametrize("package", ["torch", "torchvision"])
def test_torch_stays_in_the_rooms_that_train(package: str) -> None:
    users = {module for module in MODULES if package in imported_packages(module)}
    assert {module for module in users if not module.startswith(TORCH_ROOMS)} == set()


@pytest.mark.parametrize("module", VOCABULARY)
def test_the_vocabulary_depends_on_numpy_alone(module: str) -> None:
    assert imported_packages(module) <= PLAIN_PACKAGES | {"smear"} | sys.stdlib_module_names


@pytest.mark.parametrize("module", MODULES)
def test_only_commands_print(module: str) -> None:
    prints = [node.lineno for node in ast.walk(tree_of(module)) if isinstance(node, ast.Call) and _called(node) == "print"]
    assert is_command(module) or not prints, f"{module}: print in lines {prints}, but no function takes argv"


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_done_at_import(module: str) -> None:
    """A module defines, imports and assigns; it does not loop, call for effect or touch the environment.

    The home of an awkward package may switch that package's habits off first: they are read while it is imported.
    """
    at_home = any(module in homes for homes in HOME_OF.values())
    work = [node.lineno for node in tree_of(module).body if not (_is_definition(node) or (at_home and _is_switch(node)))]
    assert not work, f"{module}: statements that do something at import, lines {work}"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(tree_of(module)) or not tree_of(module).body


def test_importing_smear_loads_no_training_framework() -> None:
    """Analysis starts fast and runs where torch is not wanted: heavy packages come on demand."""
    names = [_dotted(module) for module in MODULES if module.startswith("smear/") and not module.endswith("__main__.py")]
    names = [name for name in names if not name.startswith(("smear.runtimes.torch", "smear.device_"))]
    heavy = ["torch", "ultralytics", "albumentations", "onnxruntime", "openvino", "sklearn", "scipy.stats", "polars"]
    code = f"import importlib, json, sys\nfor name in {names}: importlib.import_module(name)\n"
    code += f"print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == []


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_is_stripped_and_defines_nothing(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    source = "\n".join("".join(cell["source"]) for cell in cells)
    assert not [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _dotted(module: str) -> str:
    return module.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def _is_switch(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and ast.unparse(node).startswith(("silence()", "os.environ.setdefault("))


def _is_definition(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.AnnAssign):
        return True
    if isinstance(node, ast.AugAssign):
        return isinstance(node.target, ast.Name)
    if isinstance(node, ast.Assign):  # a name, never an item such as os.environ["X"]
        return all(isinstance(target, ast.Name | ast.Tuple) for target in node.targets)
    if isinstance(node, ast.Expr):  # a docstring
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.If):  # the command's entry, or imports for the type checker
        return ast.unparse(node.test) in {"__name__ == '__main__'", "TYPE_CHECKING"}
    return isinstance(node, ast.TypeAlias) if sys.version_info >= (3, 12) else False
