"""CUB-200-2011 with the annotations that CMR published: boxes, key points, masks, cameras by structure from motion."""

from ast_jax.data.frames import PADDING
from ast_jax.data.records import Collection
from ast_jax.datasets import ReadOptions
from ast_jax.datasets.cmr_cache import Cache, chosen_variant, find_folder, mean_keypoints, read_cache

# In the order of CUB's parts.txt.
KEYPOINT_NAMES = (
    "back",
    "beak",
    "belly",
    "breast",
    "crown",
    "forehead",
    "left_eye",
    "left_leg",
    "left_wing",
    "nape",
    "right_eye",
    "right_leg",
    "right_wing",
    "tail",
    "throat",
)
# CMR's halves of the 5,771 pictures of CUB's test set; they share one.
EXPECTED = {"train": 5964, "val": 2886, "test": 2886}
IMAGE_FOLDERS = ("images", "CUB_200_2011/images", "CUB/images", "cub_200/images")
CACHE_FOLDERS = ("cachedir/cub", "cub", "CUB_200_2011/cachedir/cub", "cub_200/cachedir/cub", ".")


def read(options: ReadOptions) -> Collection:
    """List CUB-200-2011 by CMR's annotation cache.

    Args:
      options: ``source`` has ``CUB_200_2011/images`` and ``cachedir/cub``. ``variant``: ``cmr`` (default, 256 px,
        cameras of the cache) or ``ast`` (64 px, AST's and Unicorn's squares, no cameras; val and test in their
        order).

    Raises:
      ValueError: a folder is missing, or no split is readable; the message says what belongs there.

    Source: Wah et al., The Caltech-UCSD Birds-200-2011 Dataset, 2011; Kanazawa et al., CMR, ECCV 2018.
    """
    variant, image_size = chosen_variant(options)
    images = find_folder(options.source, IMAGE_FOLDERS, "folder of CUB's photographs")
    folders = tuple(f"{folder}/data" for folder in CACHE_FOLDERS)
    root = find_folder(options.source, folders, "annotation cache of CMR").parent
    cache = Cache(
        images,
        {split: root / "data" / f"{split}_cub_cleaned.mat" for split in EXPECTED},
        {split: root / "sfm" / f"anno_{split}.mat" for split in EXPECTED},
    )
    records, problems = read_cache(cache, variant, image_size)
    mean = mean_keypoints(cache) if variant == "cmr" else {}
    return Collection(
        category="bird",
        camera="orthographic" if variant == "cmr" else "unknown",
        records=records,
        keypoint_names=KEYPOINT_NAMES,
        expected=EXPECTED,
        problems=problems,
        settings={"variant": variant, "image_size": image_size, "box_padding": PADDING, **mean},
    )
