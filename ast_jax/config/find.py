"""Where the file of ``--config`` lies: on the disk of the user, or in this package under its bare name."""

from pathlib import Path

from ast_jax.near_match import hint

# An installed package has the files in itself, a checkout beside it.
_PLACES = [Path(__file__).resolve().parents[up] / "configs" for up in (1, 2)]


def find_config(text: str) -> str:
    """The file that ``--config`` means, with what stands behind its colon.

    Args:
      text: ``path/to/file.py``, or the name of an experiment of ours, such as ``quickstart``; either may be followed by
        a colon and a variant, ``quickstart:tiny``. A file that exists goes before a name.

    Raises:
      ValueError: there is neither; names the nearest that there is.
    """
    given, colon, variant = text.partition(":")
    if not given:
        raise ValueError(
            "--config= is empty; name a file, such as configs/quickstart.py, or an experiment: quickstart."
        )
    path, shipped = Path(given), shipped_configs()
    if path.is_file():
        return text
    if given in shipped:
        return f"{shipped[given]}{colon}{variant}"
    near = [str(other) for folder in (path.parent, Path("configs")) for other in sorted(folder.glob("*.py"))]
    names = near if path.suffix or len(path.parts) > 1 else [*shipped, *near]
    raise ValueError(f"--config={text}: there is no file {given!r}{hint(given, names)}")


def shipped_configs() -> dict[str, Path]:
    """Name -> file of the experiments that come with this package."""
    folder = next((place for place in _PLACES if place.is_dir()), _PLACES[0])
    return {path.stem: path for path in sorted(folder.glob("*.py")) if path.stem != "__init__"}
