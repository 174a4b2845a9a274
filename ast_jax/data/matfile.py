"""Read MATLAB files of struct arrays, as the annotation caches of CMR and U-CMR are."""

from pathlib import Path

import numpy as np
from scipy.io import loadmat

HDF5_HELP = (
    "is a MATLAB 7.3 (HDF5) file; in MATLAB, load it and save it again with save(name, '-v7'), "
    "or in Octave with save -v7"
)


def load_variable(path: Path, name: str) -> np.ndarray:
    """One variable, with axes of length one removed; structs become objects with attributes.

    Args:
      path: of the file, MATLAB 4 to 7.2.
      name: of the variable.

    Raises:
      ValueError: the file is missing, broken, of MATLAB 7.3 or without the variable; the message names it.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file.")
    try:
        content = loadmat(path, variable_names=[name], struct_as_record=False, squeeze_me=True)
    except NotImplementedError as error:
        raise ValueError(f"{path}: {HDF5_HELP}.") from error
    except Exception as error:  # a truncated file raises what zlib, struct or the parser like
        raise ValueError(f"{path}: not a readable MATLAB file ({error}); download it again.") from error
    if name not in content:
        raise ValueError(f"{path}: has no variable {name!r}; is it another file?")
    return np.asarray(content[name])


def load_structs(path: Path, name: str, needed: tuple[str, ...]) -> list:
    """The elements of a struct array, also where it has only one.

    Args:
      path: of the file.
      name: of the variable.
      needed: fields that every element must have.

    Returns:
      Objects with the fields as attributes.

    Raises:
      ValueError: see `load_variable`; or it is no struct array, or a field is missing.
    """
    structs = list(np.atleast_1d(load_variable(path, name)))
    for number, struct in enumerate(structs, start=1):
        missing = [field for field in needed if not hasattr(struct, field)]
        if missing:
            raise ValueError(f"{path}: {name}({number}) has no field {', '.join(missing)}.")
    return structs
