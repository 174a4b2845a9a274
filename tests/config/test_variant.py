"""The text behind the colon of ``--config``."""

import pytest

from ast_jax.config import parse_arg


def test_first_option_needs_no_name_and_types_follow_defaults():
    options = parse_arg("chair,steps=20,textured=false", category=("aircraft", "chair"), steps=10, textured=True)
    assert (options.category, options.steps, options.textured) == ("chair", 20, False)


def test_no_argument_gives_the_defaults():
    options = parse_arg(None, category=("aircraft", "chair"), steps=10)
    assert (options.category, options.steps) == ("aircraft", 10)


@pytest.mark.parametrize(
    "arg, says",
    [("plane", "aircraft"), ("colour=1", "steps"), ("steps=a", "int"), ("textured=1", "true or false")],
)
def test_wrong_options_say_what_is_allowed(arg, says):
    with pytest.raises(ValueError, match=says):
        parse_arg(arg, category=("aircraft", "chair"), steps=10, textured=True)
