"""What every launch script does with its flags: one line where something is wrong, with the near match of a name."""

import importlib.util
import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from absl import app, flags
from ml_collections import ConfigDict, config_flags
from ml_collections.config_flags.config_flags import ConfigFileFlagParser

from ast_jax.config import find_config
from ast_jax.near_match import hint

Main = Callable[[list[str]], None]
_WRONG_INPUT = (ValueError, RuntimeError, OSError, MemoryError)
_MORE = "AST_JAX_TRACEBACK"


flags.disclaim_key_flags()  # `define_config` defines a flag of the script that calls it


class _ConfigParser(ConfigFileFlagParser):
    """The config in a file that `find_config` finds."""

    def parse(self, path: str) -> object:
        return super().parse(find_config(path))


def define_config(default: str | None = None) -> flags.FlagHolder:
    """The flag ``--config``: a config file, or the name of an experiment that comes with the package.

    Args:
      default: as on the command line; None: it has to be given.
    """
    explanation = "Experiment: a file, or the name of one of ours, such as quickstart:tiny."
    holder = config_flags.DEFINE_config_file("config", None, explanation, lock_config=True)
    flags.FLAGS["config"].parser = _ConfigParser("config")
    if default is not None:
        flags.set_default(holder, default)
    return holder


def run(main: Main) -> None:
    """Read the flags and run a launch script: a wrong input ends with one line and exit code 1, not with a traceback.

    The environment variable ``AST_JAX_TRACEBACK=1`` brings the traceback back.

    Args:
      main: takes the name of the program alone, in a list.
    """
    for stream in (sys.stdout, sys.stderr):  # names of files may have characters that the terminal lacks
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _take_help_from(main.__module__)
    app.run(lambda argv: in_one_line(main, argv), flags_parser=_parse)


def _take_help_from(module: str) -> None:
    """``--help`` of a console script, which is a module of its own, is that of the launch script behind it."""
    if module != "__main__":
        for flag in flags.FLAGS.get_key_flags_for_module(module):
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
        sys.modules["__main__"].__doc__ = sys.modules[module].__doc__


def in_one_line(main: Main, argv: list[str]) -> None:
    """``main(argv)``; ends the process with one line where the input is wrong."""
    try:
        main(argv)
    except _WRONG_INPUT as error:
        if os.environ.get(_MORE):
            raise
        sys.exit(f"error: {_first_line(error)}")


def check_given(name: str, value: str) -> None:
    """Raises a ValueError where a flag that names a file or a folder is empty, as with an unset shell variable."""
    if not value.strip():
        raise ValueError(f"--{name}= is empty; name a folder.")


def _first_line(error: BaseException) -> str:
    if isinstance(error, FileExistsError) and error.filename:
        return f"{error.filename}: a folder is to be made there, but a file or a link to nothing has the name; move it."
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[0] + (f" [{_MORE}=1 shows the rest]" if len(lines) > 1 else "")


def _parse(argv: list[str]) -> list[str]:
    """The flags, as absl reads them."""
    try:
        problem = _missing_config(argv)
        rest = argv if problem else flags.FLAGS(argv)
    except Exception as error:  # a config file is a program: it may raise anything
        if os.environ.get(_MORE):
            raise
        problem = _explain(error, argv)
    if not problem and len(rest) > 1:
        problem = f"{rest[1]!r} is no flag; flags begin with --, and text with spaces stands in quotes."
    if problem:
        sys.exit(f"error: {problem}")
    return rest


def _explain(error: Exception, argv: list[str]) -> str:
    if isinstance(error, flags.UnrecognizedFlagError):
        return f"--{error.flagname} is no flag{hint('--' + error.flagname, [f'--{name}' for name in flags.FLAGS])}"
    text = str(error)
    choice = re.fullmatch(r"flag --(\w+)=(.*): value should be one of <(.*)>", text, re.DOTALL)
    if choice:
        name, value, choices = choice[1], choice[2], choice[3].split("|")
        return f"--{name}={value!r}: choose one of {', '.join(choices)}{hint(value, choices)}"
    missing = re.fullmatch(r"flag --(\w+)=None: .*", text)
    if missing:
        return f"--{missing[1]} is not given."
    if isinstance(error, flags.IllegalFlagValueError) and "parsing config file" not in text:
        return _first_line(ValueError(text.removeprefix("flag ")))
    return _config_error(argv) or _first_line(error)


def _given_config(argv: list[str]) -> str | None:
    """The text of ``--config``, where the script has such a flag."""
    if "config" not in flags.FLAGS:
        return None
    for index, word in enumerate(argv):
        if word in ("--config", "-config"):
            return argv[index + 1] if index + 1 < len(argv) else None
        if re.match(r"--?config=", word):
            return word.partition("=")[2]
    return None


def _missing_config(argv: list[str]) -> str | None:
    """What to say where the file of ``--config`` is not there: ml_collections would say so later, and in many lines."""
    given = _given_config(argv)
    if given is None:
        return None
    try:
        find_config(given)
    except ValueError as error:
        return str(error)
    return None


def _config_error(argv: list[str]) -> str | None:
    """What is wrong with the config file, or with the keys that the flags override; None if nothing is."""
    given = _given_config(argv)
    if given is None:
        return None
    try:
        path, colon, variant = find_config(given).partition(":")
        config = load_module(path).get_config(*([variant] if colon else []))
    except SyntaxError as error:
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    except Exception as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        return f"--config={given}: {kind}{_first_line(error)}"
    keys = [f"config.{key}" for key in dotted_keys(config)]
    for word in argv:
        match = re.match(r"--?(?:no)?(config\.[^=\s]+)", word)
        if match and match[1] not in keys:
            return f"{match[1]} is no key of the config{hint(match[1], keys)}"
    return None


def load_module(path: str) -> ModuleType:
    """A Python file as a module, outside of any package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dotted_keys(config: ConfigDict, prefix: str = "") -> list[str]:
    """Every key of a config, its groups and its leaves: ``model``, ``model.shape``, ``model.shape.layers``."""
    keys = []
    for key in config.keys():
        keys.append(prefix + key)
        if isinstance(config[key], ConfigDict):
            keys += dotted_keys(config[key], f"{prefix}{key}.")
    return keys
