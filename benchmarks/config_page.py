"""Writes docs/config.md, the page of every config key.

Run: python -m benchmarks.config_page
"""

from pathlib import Path

from ast_jax.config import GROUPS
from ast_jax.config.page import format_page
from ast_jax.losses.total import TERMS
from ast_jax.training.checks import NAMES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "config.md"


def make_page() -> str:
    """The page, with the names that are registered today."""
    return format_page(NAMES | {"stage.NAME.losses": tuple(TERMS), "stage.NAME.trainable": GROUPS})


if __name__ == "__main__":
    PAGE.write_text(make_page())
