"""The scripts of the page in node, without a browser."""

import json
import shutil
import subprocess
from importlib import resources

import pytest

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="no node on this machine, which runs the scripts of the page")


def call(expression: str, *arguments, scripts=("picture.js", "camera.js")):
    """The value of an expression of the page's scripts, in which ``args`` are the arguments; all as JSON."""
    assets = resources.files("ast_jax.demo") / "assets"
    code = "\n".join((assets / name).read_text() for name in scripts)
    code += f"""
const args = JSON.parse(require("fs").readFileSync(0));
const plain = (key, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);
process.stdout.write(JSON.stringify({expression}, plain));
"""
    done = subprocess.run([NODE, "-e", code], input=json.dumps(arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
