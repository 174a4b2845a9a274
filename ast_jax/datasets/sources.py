"""From ``config.data`` to a folder in the one data set format; a new kind of source gets a line here."""

import sys
from pathlib import Path

from ml_collections import ConfigDict

from ast_jax.data.store import load_index
from ast_jax.shapes.birds.synthetic import ensure_dataset


def data_root(config: ConfigDict) -> Path:
    """The folder of the data set, made first where the source makes its own.

    Args:
      config: ``config.data``; ``source`` is ``"prepared"`` (made before by launch.prepare_data) or ``"quickstart"``.

    Raises:
      ValueError: unknown source, no ``config.data.root``, or nothing prepared there.
    """
    if not config.root:
        raise ValueError(
            "config.data.root is empty: name the folder of the data set, --config.data.root=FOLDER in launch.train, "
            "--root=FOLDER beside --protocol in launch.evaluate; a released model comes without its data."
        )
    root = Path(config.root).expanduser()
    if config.source == "quickstart":
        show = sys.stderr.isatty()
        ensure_dataset(root, num_objects=config.num_objects, image_size=config.render_size, progress=show)
    elif config.source != "prepared":
        raise ValueError(f"config.data.source={config.source!r}: choose 'prepared' or 'quickstart'.")
    load_index(root)
    return root
