"""The units of a sweep: what each one overrides, its folder and its command, and the file that keeps them."""

import itertools
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from ast_jax.config import find_config
from ast_jax.files.writing import write_text
from ast_jax.near_match import hint
from ast_jax.process.command_line import load_module

FILE_NAME = "sweep.json"
_PREFIX = "sweep_"
_UNSAFE = re.compile(r"[^A-Za-z0-9_.+-]+")
_LONGEST_NAME = 120  # file systems take 255 bytes for a name


@dataclass(frozen=True)
class Unit:
    """One run of a sweep.

    Args:
      folder: its ``--workdir``, such as ``runs/sweep/003-layers=2,seed=1``.
      overrides: dotted key of the config -> value.
      command: what runs it, word by word; ``python`` stands for the interpreter of the machine.
    """

    folder: Path
    overrides: dict[str, Any]
    command: tuple[str, ...]


@dataclass(frozen=True)
class Sweep:
    """All units, in the order of the product.

    Args:
      workdir: holds the units' folders.
      config: the ``--config`` of every unit, variant included.
      sweeps: names of what was multiplied.
      common: overrides that all units share.
      train_flags: more flags for launch.train, for all units.
      units: at least one.
      launchers: the package with ``train`` and ``sweep``: ``launch`` in a checkout, ``ast_jax.launch`` installed.
    """

    workdir: Path
    config: str
    sweeps: tuple[str, ...]
    common: dict[str, Any]
    train_flags: tuple[str, ...]
    units: tuple[Unit, ...]
    launchers: str = "launch"

    def choose(self, index: int | None) -> tuple[Unit, ...]:
        """All units, or the one with that number.

        Raises:
          ValueError: there is no such unit.
        """
        if index is None:
            return self.units
        if not 0 <= index < len(self.units):
            raise ValueError(f"--index={index}: the sweep has the units 0 to {len(self.units) - 1}.")
        return (self.units[index],)


def make_sweep(
    config_file: str,
    config: ConfigDict,
    sweeps: Sequence[str],
    workdir: str | Path,
    *,
    common: Mapping[str, Any],
    train_flags: Sequence[str] = (),
    launchers: str = "launch",
) -> Sweep:
    """The product of named sweeps of a config file; the last named one varies fastest.

    Args:
      config_file: the config, with its variant behind a colon if it has one.
      config: what is in it, to check overrides against.
      sweeps: names of the generators, without ``sweep_``.
      workdir: of the whole sweep.
      common: dotted key -> value, for every unit.
      train_flags: more flags for launch.train.
      launchers: see `Sweep`.

    Raises:
      ValueError: there is no such sweep, or it overrides what the config does not have; names what there is.
    """
    alternatives = _alternatives(config_file, config, sweeps, common)
    products = [{k: v for part in parts for k, v in part.items()} for parts in itertools.product(*alternatives)]
    units = []
    for name, overrides in zip(_folder_names(products), products):
        command = ["python", "-m", f"{launchers}.train", f"--config={config_file}"]
        command.append(f"--workdir={Path(workdir) / name}")
        command += [*override_flags({**common, **overrides}), *train_flags]
        units.append(Unit(Path(workdir) / name, overrides, tuple(command)))
    return Sweep(Path(workdir), config_file, tuple(sweeps), dict(common), tuple(train_flags), tuple(units), launchers)


def _alternatives(
    config_file: str, config: ConfigDict, names: Sequence[str], common: Mapping[str, Any]
) -> list[list[dict[str, Any]]]:
    """What each of the named sweeps yields, looked over."""
    sweeps = _load_sweeps(config_file)
    has = f"{config_file.partition(':')[0]} has {', '.join(sorted(sweeps)) or 'none'}"
    if not names:
        raise ValueError(f"--sweep: name one or more; {has}.")
    found, set_by = [], {}
    for name in names:
        if name not in sweeps:
            raise ValueError(f"--sweep={name}: there is no such sweep; {has}{hint(name, sweeps)}")
        found.append(list(sweeps[name]()))
        if not found[-1] or not all(isinstance(overrides, dict) for overrides in found[-1]):
            raise ValueError(f"--sweep={name}: sweep_{name} has to yield dicts of overrides, at least one.")
        for overrides in found[-1]:
            _check_overrides(config, overrides, f"sweep {name!r} of {config_file}")
        for key in short_keys(found[-1]):
            if key in common:
                raise ValueError(f"--sweep={name} varies {key}, and --config.{key} fixes it; leave one out.")
            if set_by.setdefault(key, name) != name or names.count(name) > 1:
                raise ValueError(f"--sweep={','.join(names)}: {set_by[key]} and {name} both set {key}; leave one out.")
    return found


def override_flags(overrides: Mapping[str, Any]) -> list[str]:
    """As ml_collections reads them on a command line."""
    return [f"--config.{key}={value}" for key, value in overrides.items()]


def short_keys(all_overrides: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Dotted key -> its last component, or the last two where the last is that of several keys."""
    keys = list(dict.fromkeys(key for overrides in all_overrides for key in overrides))
    count = Counter(key.split(".")[-1] for key in keys)
    return {key: ".".join(key.split(".")[-1 if count[key.split(".")[-1]] == 1 else -2 :]) for key in keys}


def _folder_names(all_overrides: list[dict[str, Any]]) -> list[str]:
    short = short_keys(all_overrides)
    names = []
    for index, overrides in enumerate(all_overrides):
        text = ",".join(f"{short[key]}={_UNSAFE.sub('_', str(value))}" for key, value in overrides.items())
        names.append(f"{index:03d}-{text or 'default'}"[:_LONGEST_NAME])
    return names


def _load_sweeps(config_file: str) -> dict[str, Callable[[], Iterable[dict]]]:
    """The generators of a config file: name without ``sweep_`` -> function."""
    module = load_module(find_config(config_file).partition(":")[0])
    found = {name.removeprefix(_PREFIX): value for name, value in vars(module).items() if name.startswith(_PREFIX)}
    return {name: value for name, value in found.items() if callable(value)}


def _check_overrides(config: ConfigDict, overrides: dict, where: str) -> None:
    """Raises a ValueError unless every key is a leaf of the config, and its value one that a flag can set."""
    leaves = dict(_leaves(config.to_dict()))
    for key, value in overrides.items():
        if key not in leaves:
            raise ValueError(f"{where} sets {key!r}, which the config does not have{hint(key, leaves)}")
        old = leaves[key]
        fits = type(value) in ((int, float) if isinstance(old, float) else (type(old),))
        if not (fits or old is None):  # None: a placeholder, which checks its type itself
            raise ValueError(f"{where} sets {key}={value!r}, which should be of type {type(old).__name__}.")


def _leaves(config: dict, prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def save_sweep(sweep: Sweep) -> None:
    """Write ``sweep.json``, or check that the one that is there has the same units.

    Raises:
      ValueError: the folder holds another sweep; says what differs.
    """
    path = sweep.workdir / FILE_NAME
    units = [{"name": unit.folder.name, "overrides": unit.overrides, "command": unit.command} for unit in sweep.units]
    new = {name: getattr(sweep, name) for name in ("config", "sweeps", "common", "train_flags")}
    new |= {"git": _git_hash(sweep.config), "units": units}
    new = json.loads(json.dumps(new))  # lists for tuples, as in the file
    if path.is_file():
        old = _read(path)
        difference = _difference(old, new)
        if difference:
            raise ValueError(f"{path} is of another sweep ({difference}); choose another --workdir.")
        if old == new:
            return
        if old["git"] != new["git"]:
            note = f"note: the code was at {old['git']} when this sweep was last started, and is at {new['git']} now."
            print(note, file=sys.stderr)
    sweep.workdir.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(new, indent=1) + "\n")


def read_sweep(workdir: str | Path) -> Sweep:
    """The sweep that was begun in a folder.

    Raises:
      ValueError: there is none.
    """
    path = Path(workdir) / FILE_NAME
    if not path.is_file():
        raise ValueError(f"{workdir}: not a sweep (no {FILE_NAME} there).")
    stored = _read(path)
    units = [Unit(Path(workdir) / unit["name"], unit["overrides"], tuple(unit["command"])) for unit in stored["units"]]
    sweeps, train_flags = tuple(stored["sweeps"]), tuple(stored["train_flags"])
    return Sweep(Path(workdir), stored["config"], sweeps, stored["common"], train_flags, tuple(units))


def _read(path: Path) -> dict:
    """What a sweep left in its folder."""
    try:
        stored = json.loads(path.read_text())
        stored["units"], stored["git"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: not whole ({error}); remove it, and start the sweep as before.") from error
    return stored


def _difference(old: dict, new: dict) -> str:
    """What a reader needs to see that two sweeps are not the same; empty if they are."""
    for key in ("config", "common"):
        if old[key] != new[key]:
            return f"{key} {old[key]!r} there, {new[key]!r} here"
    for there, here in itertools.zip_longest(old["units"], new["units"], fillvalue={"name": "no unit"}):
        if there["name"] != here["name"] or there["overrides"] != here["overrides"]:
            return f"{there['name']} there, {here['name']} here"
    return ""


def _git_hash(config_file: str) -> str | None:
    """The commit of the checkout that the config is in, with ``-dirty`` behind it if files have changed."""
    command = ["git", "-C", str(Path(find_config(config_file).partition(":")[0]).parent)]
    command += ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True)
    except OSError:  # git is not installed
        return None
    return result.stdout.strip() or None
