"""The page of the docs is made from the keys."""

from ast_jax.config import ExperimentConfig
from ast_jax.config.key import names_of
from benchmarks.config_page import PAGE, make_page


def test_the_page_is_current():
    assert PAGE.read_text() == make_page(), "run python -m benchmarks.config_page"


def test_every_key_has_its_row():
    page = make_page()
    sections = {part.partition("\n")[0]: part for part in page.split("\n## ")[1:]}
    for name in names_of(ExperimentConfig, "config"):
        group, _, key = name.rpartition(".")
        assert name in sections or f"\n| `{key}` |" in sections[group]
    assert "| `sigma` | float | `0.0001` | more than 0 |" in sections["config.render"]
    assert "`softmax`" in sections["config.render"] and "`laplacian`" in sections["config.stage.NAME"]
