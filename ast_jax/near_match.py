"""A wrong name gets the near match as an answer: one way to find it, for every option, key and name."""

import difflib
from collections.abc import Iterable

_CUTOFF = 0.6  # of difflib's ratio, its default
_MOST = 3


def near_matches(word: str, known: Iterable[str]) -> list[str]:
    """The names that were probably meant; letter case does not count.

    Args:
      word: what was given.
      known: the names there are. Of dotted keys those with the same last part are near, however far their first part:
        one in which every other part is near comes alone, else up to three.

    Returns:
      some of ``known``, the nearest first; for names without dots one at most.
    """
    names = {name.lower(): name for name in reversed(list(known))}
    word = word.lower()
    last = word.rpartition(".")[2]
    same = [name for name in names if "." in name and name.rpartition(".")[2] == last]
    if same:
        close = difflib.get_close_matches(word, same, n=1, cutoff=0.8) if "." in word else []
        return [names[name] for name in close or difflib.get_close_matches(word, same, n=_MOST, cutoff=0.0)]
    return [names[name] for name in difflib.get_close_matches(word, names, n=1, cutoff=_CUTOFF)]


def hint(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'shape'?`` where a name is near, else ``.``: what follows on a statement in a message."""
    near = near_matches(word, known)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else "."


def choose(name: str, value: str, choices: Iterable[str]) -> str:
    """The value itself if it is one of the choices.

    Args:
      name: what the user calls it, such as ``config.optimizer.name``.
      value: what was given.
      choices: all that can be.

    Raises:
      ValueError: it is none of them; names the nearest, and all.
    """
    choices = tuple(choices)
    if value not in choices:
        known = f"choose one of {', '.join(choices)}"
        raise ValueError(f"{name}={value!r}: {known}{hint(str(value), choices)}")
    return value
