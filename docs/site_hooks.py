"""What the site has besides docs/*.md: the front page, the notebook, and the API reference.

All of it is made while the site is built, from files that have their place elsewhere, so that nothing is written twice.
"""

import ast
import json
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("render", "ast_jax")
# Name on the site -> file of the repository.
PAGES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    **{f"models/{card.parent.name}.md": str(card.relative_to(ROOT)) for card in ROOT.glob("ast_jax/models/*/card.md")},
}
NOTEBOOK = ROOT / "docs" / "tour.ipynb"
# The words of a link, its path, its anchor; the words of a picture that is a link hold brackets themselves: left alone.
_LINK = re.compile(r"\[([^\[\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")

_ITEM = re.compile(r"(?:[-*]|\d+\.) ")
# Of a package or module its docstring, without heading and members.
_TEXT_ALONE = ("members: false", "show_root_heading: false", "show_root_toc_entry: false")


def on_config(config):
    """Adds a page for each package to the navigation."""
    cards = [{Path(name).stem: name} for name in PAGES if name.startswith("models/")]
    config.nav.append({"Models": cards})
    config.nav.append({"API": [{name: f"api/{name}.md"} for name in map(_module_name, _packages())]})
    return config


def on_files(files, config):
    """Adds the pages that are no files of docs/."""
    for name, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=_spaced(_relinked(text, posixpath.dirname(source), name))))
    files.append(File.generated(config, "tour.md", content=_notebook_page(NOTEBOOK)))
    for folder in _packages():
        name = _module_name(folder)
        files.append(File.generated(config, f"api/{name}.md", content=_api_page(folder)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links of docs/*.md that leave docs/ lead to the page of the site that shows the same."""
    if page.file.generated_by:
        return markdown
    name = page.file.src_uri
    return _spaced(_relinked(markdown, posixpath.join("docs", posixpath.dirname(name)), name))


def _relinked(text: str, folder: str, page: str) -> str:
    """Markdown of a file in this folder of the repository as that of a page of the site.

    The repository has files that the site has not (sources): of a link to such a file the words stay.
    """
    here = posixpath.dirname(page) or "."
    pages = {source: name for name, source in PAGES.items()}
    pages[str(NOTEBOOK.relative_to(ROOT))] = "tour.md"
    pages |= {str(folder.relative_to(ROOT)): f"api/{_module_name(folder)}.md" for folder in _packages()}

    def link(match):
        words, path, anchor = match.groups(default="")
        target = posixpath.normpath(posixpath.join(folder, path))
        if "://" in path or not (ROOT / target).exists():
            return match[0]  # another site; or a dead link, at which the build stops
        if target in pages or target.startswith("docs/"):
            return f"[{words}]({posixpath.relpath(pages.get(target, target.removeprefix('docs/')), here)}{anchor})"
        return words

    return _LINK.sub(link, text)


def _spaced(text: str) -> str:
    """Blank lines around lists, tables and code, which GitHub's Markdown does without and that of the site does not."""
    lines, previous, in_code = [], "", False
    for line in text.split("\n"):
        kind = "" if in_code else _kind_of(line, previous)
        if previous and kind and kind != previous:
            lines.append("")
        is_fence = line.startswith("```")
        in_code = in_code != is_fence
        previous = "" if in_code else "code" if is_fence else kind
        lines.append(line)
    return "\n".join(lines)


def _kind_of(line: str, previous: str) -> str:
    """What a line outside of code belongs to: list, table, code, text, or nothing where it is blank."""
    if not line.strip():
        return ""
    if line.startswith("```"):
        return "code"
    if line.startswith("|"):
        return "table"
    if _ITEM.match(line) or previous == "list" and line.startswith("  "):
        return "list"
    return "text"


def _packages() -> list[Path]:
    """The folders of all packages, from the top."""
    return [file.parent for name in PACKAGES for file in sorted((ROOT / name).rglob("__init__.py"))]


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _api_page(folder: Path) -> str:
    """The public names of a package: what its ``__all__`` offers; without one, what its modules define, by module."""
    package = _module_name(folder)
    text = f"# {package}\n\n" + _directive(package, *_TEXT_ALONE)
    face = _face(folder / "__init__.py")
    if face is not None:
        return text + "".join(f"\n{_directive(f'{where}.{name}')}" for name, where in face.items())
    for module in sorted(folder.glob("*.py")):
        name = _module_name(module).removesuffix(".__init__")
        if not module.stem.startswith("_") or name == package:
            text += "" if name == package else f"\n## {name}\n\n" + _directive(name, *_TEXT_ALONE)
            text += "".join(f"\n{_directive(f'{name}.{each}')}" for each in _defined(module))
    return text


def _directive(identifier: str, *options: str) -> str:
    """The line at which mkdocstrings writes the documentation of this name."""
    lines = "".join(f"\n        {option}" for option in options)
    return f"::: {identifier}\n" + (f"    options:{lines}\n" if options else "")


def _face(init: Path) -> dict[str, str] | None:
    """Each name of ``__all__`` -> the module that defines it; None without ``__all__``."""
    body = ast.parse(init.read_text(encoding="utf-8")).body
    lists = [node.value for node in body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"]
    imports = [node for node in body if isinstance(node, ast.ImportFrom)]
    where = {alias.asname or alias.name: node.module for node in imports for alias in node.names}
    return {name: where.get(name, _module_name(init.parent)) for name in ast.literal_eval(lists[0])} if lists else None


def _defined(module: Path) -> list[str]:
    """The public functions and classes of a module, in its order."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]


def _notebook_page(path: Path) -> str:
    """An executed notebook as Markdown: text, code, what was printed, and pictures inside the page."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                picture = "".join(data["image/png"]).replace("\n", "")
                parts.append(f'<img alt="what the cell shows" src="data:image/png;base64,{picture}">')
            else:
                printed = "".join(output.get("text", data.get("text/plain", "")))
                parts.append(f"```text\n{printed}\n```")
    return "\n\n".join(parts) + "\n"
