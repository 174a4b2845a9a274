"""The text behind the colon in ``--config=file.py:variant``."""

from ml_collections import ConfigDict

from ast_jax.near_match import choose, hint


def parse_arg(arg: str | None, **defaults) -> ConfigDict:
    """Typed, strict variant options: ``"aircraft,steps=200,textured=false"``.

    The first default may be given without its name. Each value takes the type of its default; a tuple as default
    lists the allowed choices, the first of which is the default.

    Args:
      arg: the text behind the colon, or None.
      **defaults: option name -> default value or tuple of choices.

    Raises:
      ValueError: an unknown option or a value of the wrong type; the message lists what is allowed.
    """
    first = next(iter(defaults), None)
    values = {name: default[0] if isinstance(default, tuple) else default for name, default in defaults.items()}
    for item in filter(None, (arg or "").split(",")):
        name, _, text = item.rpartition("=")
        name = name or first
        if name not in defaults:
            raise ValueError(
                f"unknown config option {name!r}; options are {', '.join(defaults) or 'none'}{hint(name, defaults)}"
            )
        values[name] = _parse_value(name, text, defaults[name])
    return ConfigDict(values)


def _parse_value(name: str, text: str, default):
    if isinstance(default, tuple):
        return choose(f"config option {name}", text, default)
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError(f"config option {name}={text!r}: must be true or false.")
        return text.lower() == "true"
    try:
        return type(default)(text)
    except ValueError as error:
        raise ValueError(f"config option {name}={text!r}: must be of type {type(default).__name__}.") from error
