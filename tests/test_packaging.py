"""The environment is the one that the project promises: pins, floors, one OpenCV, licence, two commands."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import cv2
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import smear

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
DECLARED = [Requirement(line) for line in [*PROJECT["project"]["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]]
PINS = {
    canonicalize_name(line.split("==")[0]): Version(line.split("==")[1])
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
}
UNDECLARED = {"ray", "tensorrt"}  # optional and large: the file that imports one says how to install it
# Below these, known holes: code runs from a checkpoint (torch, ultralytics) or from an image (Pillow).
SAFE_FLOORS = {"torch": "2.10", "pillow": "12.3", "ultralytics": "8.3.234"}


def test_both_opencv_wheels_are_one_version_and_the_loaded_one() -> None:
    """They write the same folder: two versions would leave a mixture that nobody has tested."""
    versions = {metadata.version("opencv-python"), metadata.version("opencv-python-headless")}
    assert len(versions) == 1
    assert versions.pop().startswith(cv2.__version__)
    assert PINS["opencv-python"] == PINS["opencv-python-headless"]


def test_the_windowless_opencv_is_the_one_that_loads() -> None:
    """It needs no libGL, which a bare machine lacks; `make setup` installs it last."""
    assert re.search(r"GUI:\s+NONE", cv2.getBuildInformation())


@pytest.mark.parametrize("requirement", DECLARED, ids=lambda requirement: requirement.name)
def test_what_we_declare_is_pinned_within_its_bounds_and_installed(requirement: Requirement) -> None:
    assert PINS[canonicalize_name(requirement.name)] in requirement.specifier
    assert Version(metadata.version(requirement.name)).public == str(PINS[canonicalize_name(requirement.name)])


def test_what_we_import_we_declare() -> None:
    """A package that only happens to be here, pulled in by another, may be gone tomorrow."""
    ours = {"smear", "detection", "classification", "datasets", "benchmarks"}
    imported = {name for path in _sources() for name in _imported(path)} - ours - sys.stdlib_module_names - UNDECLARED
    providers = metadata.packages_distributions()
    declared = {canonicalize_name(each.name) for each in DECLARED}
    assert {name for name in imported if not declared & {canonicalize_name(each) for each in providers.get(name, [name])}} == set()


@pytest.mark.parametrize(("name", "floor"), SAFE_FLOORS.items())
def test_no_release_with_a_known_hole_is_accepted(name: str, floor: str) -> None:
    (requirement,) = [each for each in DECLARED if each.name == name]
    lowest = min(Version(each.version) for each in requirement.specifier if each.operator == ">=")
    assert lowest >= Version(floor)


def test_every_pin_is_a_plain_version() -> None:
    """No host, path, hash or local build: an ordinary pip finds each of them."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line)] == []


def test_everything_installed_is_pinned() -> None:
    """Otherwise tomorrow's `make setup` is another environment than today's."""
    ours = {"leukofield", "pip", "wheel"}  # pip comes with the environment
    installed = {canonicalize_name(each.metadata["Name"]) for each in metadata.distributions()}
    needed = _closure({"leukofield"}, set(EXTRAS)) if "leukofield" in installed else installed
    assert needed - ours - PINS.keys() == set()


def test_the_licence_is_the_one_that_ultralytics_binds_us_to() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["project"]["license"] == "AGPL-3.0-or-later"
    assert text.lstrip().startswith("GNU AFFERO GENERAL PUBLIC LICENSE")
    assert "END OF TERMS AND CONDITIONS" in text
    assert "AGPL-3.0" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_datasets_is_never_installed() -> None:
    """Hugging Face's package has the same name."""
    assert not any(name.startswith("datasets") for name in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"])


def test_the_version_is_written_once() -> None:
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "smear.__version__"}
    assert Version(smear.__version__)


def test_a_second_setup_installs_nothing() -> None:
    """After the first, `make setup` has nothing to do; the environment that runs this test came from it or is skipped."""
    if not list((ROOT / ".venv").glob("installed-*")):
        pytest.skip("this environment was not made by `make setup`")
    run = subprocess.run(["make", "-q", "setup"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_readme_shows_both_commands_first() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:30])
    assert "make demo" in first_screen
    assert "make test" in first_screen


def _sources() -> Iterator[Path]:
    for room in ("smear", "detection", "classification", "datasets", "benchmarks"):
        yield from (ROOT / room).rglob("*.py")


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def _closure(names: set[str], extras: set[str]) -> set[str]:
    """Canonical names of what `names` pull in on this machine, following the metadata of what is installed."""
    seen: set[str] = set()
    queue = [(name, extras) for name in names]
    while queue:
        name, wanted = queue.pop()
        for line in metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is not None and not any(requirement.marker.evaluate({"extra": extra}) for extra in wanted | {""}):
                continue
            if canonicalize_name(requirement.name) not in seen:
                seen.add(canonicalize_name(requirement.name))
                queue.append((requirement.name, set(requirement.extras)))
    return seen
