import pytest

from ast_jax.near_match import choose, hint, near_matches

KEYS = ["seed", "model.shape.layers", "model.texture.layers", "model.dim", "optimizer.learning_rate"]


@pytest.mark.parametrize(
    "word, near",
    [
        ("sed", ["seed"]),
        ("SEED", ["seed"]),
        ("modle.dim", ["model.dim"]),
        ("model.shpe.layers", ["model.shape.layers"]),
        ("layers", ["model.texture.layers", "model.shape.layers"]),
        ("optimizer.learning_rat", ["optimizer.learning_rate"]),
        ("learning_rate", ["optimizer.learning_rate"]),
        ("zebra", []),
        ("", []),
    ],
)
def test_the_name_that_was_meant(word, near):
    assert sorted(near_matches(word, KEYS)) == sorted(near)


def test_messages():
    assert hint("zebra", KEYS) == "." and hint("sed", KEYS) == "; did you mean 'seed'?"
    assert choose("--backend", "local", ("print", "local")) == "local"
    with pytest.raises(ValueError, match="--backend='locl': choose one of print, local; did you mean 'local'?"):
        choose("--backend", "locl", ("print", "local"))
