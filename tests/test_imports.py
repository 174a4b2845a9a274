"""Imports run one way: launch -> ast_jax -> render; the rooms of ast_jax see only those below them."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# On the ground: what an array is, what data gives, what a model answers, which machine this is, how to compile, near
# matches of names.
GROUND = (
    "ast_jax.arrays",
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
    # Of the model the template and how it is called, of the data the squares that pictures are cut out of.
    "ast_jax.export": (
        "render",
        "ast_jax.files",
        "ast_jax.model.template",
        "ast_jax.model.predictor",
        "ast_jax.data.crop",
    ),
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
        "ast_jax.model.backbones",
        "ast_jax.model.predictor",
        "ast_jax.model.template",
        "ast_jax.losses",
        "ast_jax.data",
        "ast_jax.datasets.photo_list",
        "ast_jax.export",
        "ast_jax.training.checkpoint",
    ),
    "ast_jax.demo": (
        "ast_jax.files",
        "ast_jax.pretrained",
        "ast_jax.model",
        "ast_jax.data",
        "ast_jax.export",
        "ast_jax.training.checkpoint",
        "ast_jax.training.release",
        "ast_jax.reconstruction",
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
def test_the_ground_imports_the_renderer_and_arrays_at_most(name):
    allowed = ("render", "ast_jax.arrays")
    assert all(
        any(_within(other, room) for room in allowed) for other in _imports(ROOT / f"{name.replace('.', '/')}.py")
    )


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


def _statements(tree: ast.AST, in_functions: bool) -> list[ast.stmt]:
    """Import statements outside of functions, or inside of them."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return [node for node in imports if (id(node) in inside) == in_functions]


def _import_graph(root: Path, package: str) -> dict[str, set[str]]:
    """Which modules of a package are run because a module imports them; its own packages are running already."""
    files = {path: path.relative_to(root).with_suffix("").parts for path in (root / package).rglob("*.py")}
    modules = {".".join(part for part in parts if part != "__init__"): path for path, parts in files.items()}
    graph = {}
    for module, path in modules.items():
        found = set()
        for node in _statements(ast.parse(path.read_text()), in_functions=False):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            else:
                assert node.level == 0, f"{path} has a relative import"
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                # A name that is no module is one of the package's or the module's own.
                found |= {name if name in modules else node.module for name in names}
        packages = {name[:end] for name in found for end, letter in enumerate(name) if letter == "."}
        running = {package, *(module[:end] for end, letter in enumerate(module) if letter == ".")}
        graph[module] = found & set(modules) | packages & set(modules) - running - {module}
    return graph


def test_the_renderer_has_no_circle():
    graph = _import_graph(ROOT, "render")
    assert "render.screen" in graph["render.zbuffer"] and "render.blending" in graph["render.backends"]
    tuple(graphlib.TopologicalSorter(graph).static_order())  # A CycleError names the circle.


@pytest.mark.parametrize(
    "circle",
    [
        {"a": "from render import b", "b": "from render.a import name"},
        {"a": "import render.rules.b", "rules/b": "from render.c import name", "c": "import render.a"},
        # The package is run before its module is.
        {"a": "import render.rules.b", "rules/b": "", "rules/__init__": "from render import a"},
        # The public face imports all.
        {"__init__": "from render.a import name", "a": "from render import other"},
    ],
)
def test_a_circle_is_found(tmp_path, circle):
    for name, text in ({"__init__": "", "rules/__init__": ""} | circle).items():
        path = tmp_path / f"render/{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with pytest.raises(graphlib.CycleError):
        tuple(graphlib.TopologicalSorter(_import_graph(tmp_path, "render")).static_order())


def test_no_function_of_the_renderer_imports_of_ours():
    """It would hide a circle. Packages that few need are imported where they are used."""
    for path in (ROOT / "render").rglob("*.py"):
        for node in _statements(ast.parse(path.read_text()), in_functions=True):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not any(_within(name, room) for name in names for room in OURS), f"{path}:{node.lineno}"
