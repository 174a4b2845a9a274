"""What a protocol asks of the data set: the size of its pictures, and what has to be said beside its numbers."""

from pathlib import Path

from ml_collections import ConfigDict

from ast_jax.data.pipeline import DataSource
from ast_jax.data.store import load_arrays, load_index
from ast_jax.evaluation.protocols.base import Protocol


def protocol_config(data: ConfigDict, protocol: Protocol) -> ConfigDict:
    """A run's data config, as the protocol wants it.

    Args:
      data: ``config.data`` of the run.
      protocol: the one to measure by.
    """
    data = data.copy_and_resolve_references()
    data.num_target_views = 1
    if protocol.input_crop:
        data.input_crop = protocol.input_crop
    if protocol.render_size:
        data.render_size = protocol.render_size
    return data


def check_pictures(root: str | Path, protocol_name: str, protocol: Protocol) -> None:
    """Refuse a data set whose pictures are smaller than those that the protocol compares.

    Args:
      root: folder of the data set.
      protocol_name: for the message.
      protocol: the one to measure by.

    Raises:
      ValueError: they are; the message says how to prepare them.
    """
    if not protocol.render_size:
        return
    first = next(object_id for ids in load_index(root)["splits"].values() for object_id in ids)
    side = load_arrays(root, first, ["images"])["images"].shape[1]
    if side < protocol.render_size:
        raise ValueError(
            f"{root}: its pictures have {side} px, {protocol_name} compares at {protocol.render_size}; prepare the data"
            f" set again with --image_size={protocol.render_size} (for CUB: without --image_size)."
        )


def remarks(protocol: Protocol, source: DataSource) -> list[str]:
    """What sets the numbers of this data set, or of this run's inputs, apart from the published ones.

    Args:
      protocol: the one measured by.
      source: the split.

    Returns:
      sentences for the table, ``protocol.note`` first.
    """
    found = [protocol.note] if protocol.note else []
    truth = source.truth(0)
    for what, name in (("surface points", "surface_points"), ("query points", "query_points")):
        points = getattr(truth, name) if name in protocol.needs else None
        if points is not None and len(points) < protocol.stored_points:
            found.append(
                f"Only {len(points):,} {what} of each object are stored, the published measure takes"
                f" {protocol.stored_points:,}: prepare the data set with --variant=full."
            )
    variant = source.meta.get("variant", protocol.variant)
    if protocol.variant and variant != protocol.variant:
        found.append(f"The squares are those of --variant={variant}, the published ones those of {protocol.variant}.")
    if protocol.photographs and is_input_masked(source.config):
        found.append(
            "The model sees the object cut out by its true mask (config.data.input_masked=True); published methods see"
            " the whole photograph."
        )
    return found


def is_input_masked(config: dict) -> bool:
    """Whether the model's pictures show the object alone, which is so where the config does not say."""
    return bool(config.get("input_masked", True))
