"""What a key says of itself is what is checked, filled in and told."""

import dataclasses
import json
from dataclasses import dataclass

import pytest

from ast_jax.config import ExperimentConfig, base_config, check, complete
from ast_jax.config.key import default_of, entry_type, fields_of, group, key, names_of, table
from ast_jax.training.checks import NAMES
from ast_jax.training.release import SHIPPED

# Text that a key may hold freely; every other text is one of some names, and is checked as such.
FREE = {
    "data.root",
    "model.encoder.weights",
    "precision.keep_float32",
    "best_metric",
    "evaluation.method",
    "evaluation.split",
    "init_from",
}


@dataclass(frozen=True)
class Wheel:
    """A small group."""

    spokes: int = key(8, "how many", at_least=3, below=100)
    rim: str = key("steel", "made of", choices=("steel", "wood"))


@dataclass(frozen=True)
class Cart:
    """A group with a group and tables."""

    wheel: Wheel = group(Wheel)
    load: float = key(1.0, "kg", above=0)
    extra: dict[str, Wheel] = table({"spare": Wheel(rim="wood")}, "further wheels")
    prices: dict[str, float] = table({}, "of parts")


def _cart(**changes):
    return {**dataclasses.asdict(Cart()), **changes}


def test_a_default_config_passes():
    check(_cart(), Cart, "cart")
    check(base_config(), ExperimentConfig, "config")


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"wheel": {"spokes": 2, "rim": "wood"}}, "cart.wheel.spokes=2: give a finite number, 3 or more, below 100."),
        ({"wheel": {"spokes": 100, "rim": "wood"}}, "cart.wheel.spokes=100: give a finite number, 3 or more, below"),
        ({"wheel": {"spokes": 8.5, "rim": "wood"}}, "cart.wheel.spokes=8.5 should be of type int"),
        ({"wheel": {"spokes": True, "rim": "wood"}}, "cart.wheel.spokes=True should be of type int"),
        ({"wheel": {"spokes": 8}}, "cart.wheel.rim is missing; the keys are spokes, rim"),
        (
            {"wheel": {"spokes": 8, "rim": "wod"}},
            "cart.wheel.rim='wod': choose one of steel, wood; did you mean 'wood'",
        ),
        ({"wheel": 3}, "cart.wheel=3 should be a config with the keys spokes, rim"),
        ({"load": 0}, "cart.load=0: give a finite number, more than 0."),
        ({"load": float("nan")}, "cart.load=nan: give a finite number"),
        ({"extra": {"left": {"spokes": 1, "rim": "wood"}}}, "cart.extra.left.spokes=1: "),
        ({"extra": {"left": {"spoks": 8}}}, "cart.extra.left.spoks is no key of the config; did you mean 'spokes'"),
        ({"extra": "left"}, "cart.extra='left' should be a config with a key for each"),
        ({"prices": {"rim": float("inf")}}, "cart.prices.rim=inf: give a finite number."),
        ({"prices": {"rim": "dear"}}, "cart.prices.rim='dear' should be of type float"),
        ({"lod": 1.0}, "cart.lod is no key of the config; did you mean 'load'"),
    ],
)
def test_what_is_wrong_is_named(changes, says):
    with pytest.raises(ValueError) as error:
        check(_cart(**changes), Cart, "cart")
    assert says in str(error.value) and "\n" not in str(error.value)


def test_bounds_themselves():
    for value in (3, 99):
        check(_cart(wheel={"spokes": value, "rim": "wood"}), Cart, "cart")


def test_an_older_config_is_completed_and_what_is_gone_is_named():
    old = {"wheel": {"spokes": 5, "hub": 1}, "extra": {"left": {"colour": "red"}}, "horse": True}
    full, removed = complete(old, Cart, "cart")
    assert full == {
        "wheel": {"spokes": 5, "rim": "steel"},
        "load": 1.0,
        "extra": {"left": {"spokes": 8, "rim": "steel"}},
        "prices": {},
    }
    assert removed == {"cart.wheel.hub": 1, "cart.extra.left.colour": "red", "cart.horse": True}


def test_nothing_at_all_is_completed_to_the_defaults():
    assert complete({}, ExperimentConfig) == (base_config().to_dict(), {})


def test_released_models_have_every_key_of_today():
    for folder in SHIPPED.iterdir():
        stored = json.loads((folder / "config.json").read_text())
        full, removed = complete(stored, ExperimentConfig)
        assert not removed and full.keys() == stored.keys(), folder


def test_every_text_is_checked_or_free():
    found = set()

    def walk(kind, prefix):
        for name, field in fields_of(kind).items():
            if dataclasses.is_dataclass(field.type):
                walk(field.type, f"{prefix}{name}.")
            elif field.type is str and not field.metadata["key"].choices:
                found.add(prefix + name)

    walk(ExperimentConfig, "")
    assert found == FREE | set(NAMES)


def test_every_default_is_allowed_and_every_key_says_what_it_means():
    names = names_of(ExperimentConfig, "config")
    assert len(names) == len(set(names)) > 80

    def walk(kind):
        assert kind.__doc__ and not kind.__doc__.startswith(kind.__name__)  # dataclasses make one of their own
        for field in fields_of(kind).values():
            for inner in (field.type, entry_type(field)):
                if dataclasses.is_dataclass(inner):
                    walk(inner)
            if not dataclasses.is_dataclass(field.type):
                assert field.metadata["key"].meaning and default_of(field) is not None

    walk(ExperimentConfig)
