"""What a fresh clone brings along."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_no_link_is_committed():
    """A link to one developer's folder leads nowhere in a clone, and stands where the first command writes."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    listed = subprocess.run(["git", "ls-files", "--stage"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not [line for line in listed.stdout.splitlines() if line.startswith("120000")]
