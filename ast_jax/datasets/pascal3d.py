"""PASCAL3D+ cars with the annotations that CMR and U-CMR made: boxes, key points, masks, cameras."""

from pathlib import Path

import numpy as np

from ast_jax.data.augment import mirror_order
from ast_jax.data.frames import PADDING
from ast_jax.data.records import Collection
from ast_jax.data.store import SPLITS
from ast_jax.datasets import ReadOptions
from ast_jax.datasets.cmr_cache import Cache, chosen_variant, find_folder, mean_keypoints, read_cache
from ast_jax.datasets.matfile import load_variable

IMAGE_FOLDERS = ("PASCAL3D+_release1.1/Images", "pascal_3d/Images", "Images")
CACHE_FOLDERS = ("cachedir/p3d", "p3d", "ucmr_anno", "pascal_3d/ucmr_anno", ".")


def read(options: ReadOptions) -> Collection:
    """List one class of PASCAL3D+ by the annotation cache of U-CMR (or CMR's scripts).

    Args:
      options: ``source`` has ``PASCAL3D+_release1.1/Images`` and ``cachedir/p3d``; ``category`` is the class, ``car``
        where it is empty. The protocol is CMR's, 256 px.

    Raises:
      ValueError: a folder is missing, no split is readable, or the mirror order of the key points is another than
        their names say.

    Source: Xiang et al., Beyond PASCAL, WACV 2014; Goel et al., U-CMR, ECCV 2020, and released code.
    """
    variant, image_size = chosen_variant(options)
    if variant != "cmr":
        raise ValueError(f"variant={variant!r}: PASCAL3D+ has only cmr.")
    category = options.category or "car"
    images = find_folder(options.source, IMAGE_FOLDERS, "folder of PASCAL3D+'s photographs")
    folders = tuple(f"{folder}/data" for folder in CACHE_FOLDERS)
    root = find_folder(options.source, folders, "annotation cache of U-CMR").parent
    splits = [split for split in SPLITS if (root / "data" / f"{category}_{split}.mat").is_file()]
    if not splits:
        raise ValueError(f"{root / 'data'}: has no {category}_train.mat; --category is a class of PASCAL3D+, as car.")
    cache = Cache(
        images,
        {split: root / "data" / f"{category}_{split}.mat" for split in splits},
        {split: root / "sfm" / f"{category}_{split}.mat" for split in splits},
    )
    names = keypoint_names(root / "data" / f"{category}_kps.mat")
    records, problems = read_cache(cache, variant, image_size)
    return Collection(
        category=category,
        camera="orthographic",
        records=records,
        keypoint_names=names,
        problems=problems,
        settings={
            "variant": variant,
            "image_size": image_size,
            "box_padding": PADDING,
            **mean_keypoints(cache),
        },
    )


def keypoint_names(path: Path) -> tuple[str, ...]:
    """Names with the words ``left`` and ``right``, such that they swap as ``kp_perm_inds`` of the file has it.

    Raises:
      ValueError: the file is not readable, or names and order do not agree.
    """
    try:
        order = load_variable(path, "kp_perm_inds").ravel().astype(int) - 1
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{path}: kp_perm_inds is not a list of numbers ({error}).") from error
    given = [str(name).strip() for name in load_variable(path, "kp_names").ravel()]
    names = [name.replace("L_", "left_").replace("R_", "right_").lower() for name in given]
    if len(names) != len(order) or (mirror_order(names, len(names)) != np.asarray(order)).any():
        raise ValueError(f"{path}: kp_perm_inds is not the order that left and right in kp_names make.")
    return tuple(names)
