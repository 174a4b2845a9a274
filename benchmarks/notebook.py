"""Runs docs/tour.ipynb from top to bottom and stores in it what its cells print and show. Needs no Jupyter.

Run: python -m benchmarks.notebook
"""

import ast
import base64
import contextlib
import io
import json
import os
import re
from pathlib import Path

from PIL import Image

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "tour.ipynb"
LARGEST = 400_000  # bytes of the file, which everyone who clones the project gets


def code_cells(notebook: dict) -> list[dict]:
    """The cells that hold Python, in order."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run_notebook(steps: int | None = None) -> tuple[dict, dict]:
    """Runs all cells, in the folder of the notebook.

    Args:
      steps: takes the place of the notebook's STEPS.

    Returns:
      The notebook with the new outputs, and the variables that its cells left.
    """
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    variables: dict = {"__name__": "__main__"}
    with contextlib.chdir(NOTEBOOK.parent):
        for number, cell in enumerate(code_cells(notebook), start=1):
            code = "".join(cell["source"])
            if steps is not None:
                code = re.sub(r"^STEPS = \d+", f"STEPS = {steps}", code, flags=re.MULTILINE)
            cell["outputs"] = run_cell(code, variables, f"cell {number} of {NOTEBOOK.name}", number)
            cell["execution_count"] = number
    return notebook, variables


def run_cell(code: str, variables: dict, name: str, number: int) -> list[dict]:
    """Runs one cell as Jupyter does: its outputs are what it prints and the value of its last line, if that is one."""
    body = ast.parse(code).body
    shown = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(body, []), name, "exec"), variables)
        value = eval(compile(ast.Expression(shown.value), name, "eval"), variables) if shown else None
    outputs = []
    if printed.getvalue():
        lines = printed.getvalue().splitlines(keepends=True)
        outputs.append({"name": "stdout", "output_type": "stream", "text": lines})
    if value is not None:
        data = {
            "text/plain": [f"<picture of {value.width} x {value.height} px>" if _is_picture(value) else repr(value)]
        }
        if _is_picture(value):
            data["image/png"] = base64.b64encode(_png(value)).decode()
        outputs.append({"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"})
    return outputs


def _is_picture(value) -> bool:
    return isinstance(value, Image.Image)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def main() -> None:
    """Runs the notebook and replaces its file, unless it has become too large."""
    text = json.dumps(run_notebook()[0], indent=1, ensure_ascii=False) + "\n"
    if len(text.encode()) > LARGEST:
        raise SystemExit(f"error: {NOTEBOOK} would have {len(text.encode())} bytes, more than {LARGEST}: show less")
    partial = NOTEBOOK.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(NOTEBOOK)


if __name__ == "__main__":
    main()
