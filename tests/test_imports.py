"""Imports run one way: launch -> ast_jax -> render; the rooms of ast_jax see only those below them."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# On the ground: what data gives, what a model answers, which machine this is, how to compile, near matches of names.
GROUND = (
    "ast_jax.batch",
    "ast_jax.prediction",
    "ast_jax.machine",
    "ast_jax.compile_options",
    "ast_jax.near_match",
)

# room -> what it may import of ours, beside itself and the ground
ALLOWED = {
    "render": (),
    # Config files are loaded by path, where there may be no package of theirs.
    "configs": ("ast_jax.config",),
    "ast_jax.config": (),
    "ast_jax.files": (),
    "ast_jax.process": ("ast_jax.files", "ast_jax.config"),
    "ast_jax.pretrained": ("ast_jax.files",),
    "ast_jax.model": ("render", "ast_jax.config", "ast_jax.pretrained"),
    "ast_jax.losses": ("render", "ast_jax.pretrained"),
    "ast_jax.data": ("render", "ast_jax.config", "ast_jax.files", "ast_jax.pretrained"),
    "ast_jax.shapes": ("render", "ast_jax.files", "ast_jax.data", "ast_jax.process.ownership"),
    "ast_jax.datasets": ("render", "ast_jax.files", "ast_jax.data", "ast_jax.shapes"),
    # Of the model the layout of the template, of the data the squares that pictures are cut out of.
    "ast_jax.export": ("render", "ast_jax.files", "ast_jax.model.template", "ast_jax.data.crop"),
    # Of the model only the network with pretrained weights, whose features compare sets of pictures.
    "ast_jax.evaluation": (
        "render",
        "ast_jax.files",
        "ast_jax.data",
        "ast_jax.pretrained",
        "ast_jax.model.backbones.efficientnet",
    ),
    "ast_jax.training": (
        "render",
        "ast_jax.config",
        "ast_jax.files",
        "ast_jax.process",
        "ast_jax.model",
        "ast_jax.losses",
        "ast_jax.data",
        "ast_jax.datasets.sources",
    ),
    "ast_jax.reconstruction": (
        "render",
        "ast_jax.files",
        "ast_jax.pretrained",
        "ast_jax.losses",
        "ast_jax.data",
        "ast_jax.datasets.photo_list",
        "ast_jax.export",
        "ast_jax.training.checkpoint",
    ),
    # It starts runs as processes, and reads what they leave.
    "ast_jax.sweep": ("ast_jax.config", "ast_jax.files", "ast_jax.process", "ast_jax.training.monitoring.metrics"),
    "ast_jax.reports": (
        "render",
        "ast_jax.files",
        "ast_jax.model",
        "ast_jax.losses",
        "ast_jax.data",
        "ast_jax.datasets",
        "ast_jax.export",
        "ast_jax.evaluation",
        "ast_jax.training",
    ),
}
OURS = ("render", "configs", "ast_jax", "launch", "tests", "benchmarks")


# The renderer stands alone; a config file, and what it is made of, know names at most.
ALLOWED |= {room: (*allowed, *GROUND) for room, allowed in ALLOWED.items() if room.startswith("ast_jax.")}
ALLOWED["ast_jax.config"] = ("ast_jax.near_match",)


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= (
                {f"ast_jax.{alias.name}" for alias in node.names} if node.module == "ast_jax" else {node.module or ""}
            )
    return {name for name in names if name.split(".")[0] in OURS}


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def _any(room: str, rule: tuple[str, ...]) -> bool:
    return any(_within(allowed, room) for allowed in rule)


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_lies_below(room):
    files = list((ROOT / room.replace(".", "/")).rglob("*.py"))
    assert files
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in _imports(path)
        if not any(_within(name, allowed) for allowed in (room, *ALLOWED[room]))
    ]
    assert not wrong


def test_every_room_has_its_rule():
    rooms = {f"ast_jax.{path.name}" for path in (ROOT / "ast_jax").iterdir() if (path / "__init__.py").is_file()}
    assert rooms == {room for room in ALLOWED if room.startswith("ast_jax.")}


def test_rules_of_rooms_have_no_circle():
    below = {
        room: [other for other in ALLOWED if room != other and _any(other, rule)] for room, rule in ALLOWED.items()
    }
    list(graphlib.TopologicalSorter(below).static_order())  # CycleError otherwise


@pytest.mark.parametrize("name", GROUND)
def test_the_ground_imports_the_renderer_at_most(name):
    assert all(_within(other, "render") for other in _imports(ROOT / f"{name.replace('.', '/')}.py"))


def test_launch_imports_no_tests_and_library_imports_no_launch():
    for path in [*(ROOT / "ast_jax").rglob("*.py"), *(ROOT / "render").rglob("*.py")]:
        assert not any(_within(name, other) for name in _imports(path) for other in ("launch", "configs", "tests"))


def test_top_level_imports_are_light():
    code = "import sys, ast_jax, ast_jax.config; assert 'jax' not in sys.modules, 'jax came along'"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_login_node_can_start_a_sweep():
    heavy = ("jax", "numpy", "tensorboardX")
    code = f"import sys, launch.sweep, configs.cub; assert not set({heavy}) & set(sys.modules), 'heavy ones came along'"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    code = (
        "import sys, ast_jax.training.monitoring.metrics; assert 'jax' not in sys.modules, 'the table brings jax along'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
