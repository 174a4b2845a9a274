"""From a data set on disk to batches: all that is random is drawn per sample, then a batch is made at once.

The draws come before the samples are dealt out to processes, so that the global batch of a step is the same
for any number of processes and threads, and the step alone is the state of the data.
"""

import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grain
import jax
import numpy as np
from absl import logging
from jaxtyping import Float, UInt8
from ml_collections import ConfigDict

from ast_jax.batch import Batch
from ast_jax.data.augment import (
    Draw,
    draw_augmentation,
    mirror_order,
    mirrored_pictures,
    mirrored_views,
    recoloured,
)
from ast_jax.data.batch_crops import (
    crop_first_surroundings,
    crop_first_view,
    cut_inputs,
    first_frames,
    input_box,
    opaque,
    premultiplied,
    shown_pictures,
)
from ast_jax.data.crop import Box, area_downsample, composite, crop_camera, crop_to_mask, object_box
from ast_jax.data.data_config import checked_config
from ast_jax.data.store import SPLITS, ObjectRecord, load_arrays, load_index, load_object, object_path
from render import OrthographicCamera, PerspectiveCamera

# What is stored of each view besides its picture.
VIEW_ARRAYS = ("rotation", "translation", "focal", "principal", "keypoints_ndc")


class DataSource:
    """All views of one split, as they are stored; in memory, or in a file mapped into it where they are many.

    A sample is a view; ``source.object_of[sample]`` is its object and ``source.ids`` names the objects.

    Args:
      root: folder with ``dataset.json``.
      split: ``train``, ``val`` or ``test``.
      config: any of the keys of `ast_jax.config.DataConfig`, see docs/config.md; those that are left out have their
        defaults. With ``input_masked=False`` the input is the whole stored picture, as a protocol wants whose model is
        not to see the mask, where it is not stored cut out; supervising views show the object alone in either case.
        With ``input_crop="frame"`` a random crop moves the first supervising view and its camera, too.

    Raises:
      ValueError: a file is missing or broken, or the config does not fit the data; the message says which.
    """

    def __init__(self, root: str | Path, split: str, config: ConfigDict | dict):
        self.root = Path(root)
        self.meta = load_index(root)
        if split not in self.meta.get("splits", {}):
            raise ValueError(f"split={split!r}: {self.root} has {sorted(self.meta.get('splits', SPLITS))}.")
        self.ids: list[str] = list(self.meta["splits"][split])
        if not self.ids:
            raise ValueError(f"split={split!r}: no object in it; prepare {self.root} with more objects.")
        with ThreadPoolExecutor() as pool:
            names = (*VIEW_ARRAYS, "box")
            records = list(pool.map(lambda object_id: load_arrays(self.root, object_id, names, ("box",)), self.ids))
        self._check_keypoints(records)
        counts = [len(record["rotation"]) for record in records]
        self.first_sample = np.cumsum([0, *counts])
        self.object_of = np.repeat(np.arange(len(counts)), counts)
        self.views = {name: np.concatenate([record[name] for record in records]) for name in VIEW_ARRAYS}
        has_boxes = all("box" in record for record in records)
        self.annotated_boxes = np.concatenate([record["box"] for record in records]) if has_boxes else None
        self.mirror_order = mirror_order(self.meta.get("keypoint_names", []), self.views["keypoints_ndc"].shape[1])
        self.images = self._read_pictures(checked_config(config)["memory_limit_gb"])
        self.config = checked_config(config, self.images.shape[1], min(counts))
        self.cut_out = self._is_cut_out()
        for key in ("input_masked", "target_masked"):
            if self.cut_out and not self.config[key]:
                logging.warning("%s=False: %s stores its objects cut out, so that is how they are shown.", key, root)
        self.boxes = self._find_boxes() if self.config["input_crop"] == "object" else self._whole_frames()
        self.targets = self._shrink(self.config["render_size"])

    def __len__(self) -> int:
        """How many samples: views of all objects."""
        return len(self.images)

    def __getitem__(self, sample: int) -> int:
        """The sample itself; its pictures are read when its batch is made."""
        return sample

    def sample_number(self, object_index: int, view_index: int) -> int:
        """The sample of one view of one object.

        Raises:
          ValueError: there is no such object or no such view.
        """
        if not 0 <= object_index < len(self.ids):
            raise ValueError(f"object_index={object_index}: the split has objects 0 to {len(self.ids) - 1}.")
        first, end = self.first_sample[object_index : object_index + 2]
        if not 0 <= view_index < end - first:
            raise ValueError(f"view_index={view_index}: {self.ids[object_index]} has {end - first} views.")
        return int(first + view_index)

    def truth(self, object_index: int) -> ObjectRecord:
        """All that is stored of one object, its 3D truth included, read from disk."""
        return load_object(self.root, self.ids[object_index])

    def _check_keypoints(self, records: list[dict]) -> None:
        """All objects have the same key points."""
        expected = records[0]["keypoints_ndc"].shape[1]
        for object_id, record in zip(self.ids, records):
            found = record["keypoints_ndc"].shape[1]
            if found != expected:
                where = object_path(self.root, object_id)
                raise ValueError(f"{where}: {found} key points, {self.ids[0]} has {expected}; prepare it again.")

    def _read_pictures(self, limit_gb: float) -> UInt8[np.ndarray, "n h w 4"]:
        """The pictures of all objects, one after the other."""
        (first,) = load_arrays(self.root, self.ids[0], ["images"]).values()
        pictures = _room(self.root, (len(self.object_of), *first.shape[1:]), limit_gb)

        def read(index: int) -> None:
            (images,) = load_arrays(self.root, self.ids[index], ["images"]).values()
            if images.shape[1:] != first.shape[1:]:
                raise ValueError(
                    f"{self.ids[index]}: pictures are {images.shape[1:]}, those of {self.ids[0]} {first.shape[1:]}."
                )
            views = int(np.diff(self.first_sample[index : index + 2])[0])
            if len(images) != views:
                where = object_path(self.root, self.ids[index])
                raise ValueError(f"{where}: {len(images)} pictures for {views} cameras; prepare it again.")
            pictures[slice(*self.first_sample[index : index + 2])] = images

        with ThreadPoolExecutor() as pool:
            list(pool.map(read, range(len(self.ids))))
        return pictures

    def _shrink(self, size: int) -> UInt8[np.ndarray, "n i i 4"]:
        """The pictures at the size of the supervising views: area averages, and colours weighted by alpha where the
        object is shown alone."""
        if size == self.images.shape[1]:
            return self.images
        small = _room(self.root, (len(self), size, size, 4), self.config["memory_limit_gb"])
        for sample, image in enumerate(self.images):
            if self.shows_surroundings:
                mean = area_downsample(image[None].astype(np.float32) / 255, size)[0]
            else:
                mean = area_downsample(premultiplied(image[None]), size)[0]
                mean[..., :3] /= np.maximum(mean[..., 3:], 1e-6)
            small[sample] = np.round(np.clip(mean, 0, 1) * 255)
        return small

    @property
    def camera_kind(self) -> str:
        """One of ``store.CAMERAS``."""
        return self.meta.get("camera", "perspective")

    @property
    def shows_surroundings(self) -> bool:
        """Whether the supervising views show what lies around the objects, too."""
        return not (self.config["target_masked"] or self.cut_out)

    def _is_cut_out(self) -> bool:
        """Whether nothing is stored around the objects: what is rendered, or cut out by a mask, has black there."""
        some = self.images[:: max(len(self) // 64, 1)]
        around = some[..., :3][some[..., 3] == 0]
        return bool(around.size) and not around.any()

    def _whole_frames(self) -> list[Box]:
        return [Box(0.0, 0.0, float(self.images.shape[1]))] * len(self)

    def _find_boxes(self) -> list[Box]:
        boxes = []
        for sample, image in enumerate(self.images):
            try:
                # What is thinner than a pixel covers no half of one.
                least = 127 if (image[..., 3] > 127).any() else 0
                boxes.append(object_box(image[..., 3] > least, padding=self.config["crop_padding"]))
            except ValueError as error:
                object_index = self.object_of[sample]
                view = sample - self.first_sample[object_index]
                raise ValueError(f"{self.root}: {self.ids[object_index]}, view {view}: {error}") from error
        return boxes


def _room(root: Path, shape: tuple[int, ...], limit_gb: float) -> UInt8[np.ndarray, "n h w 4"]:
    """Room for pictures: in memory, or above the limit in a nameless file, which the system removes with the process.

    The file lies beside the data set, or with the temporary files where that cannot be written to.
    """
    if np.prod(shape, dtype=np.int64) <= limit_gb * 1e9:
        return np.empty(shape, np.uint8)
    try:
        file, folder = tempfile.TemporaryFile(dir=root), root
    except OSError:
        file, folder = tempfile.TemporaryFile(), tempfile.gettempdir()
    needed, free = np.prod(shape, dtype=np.int64), shutil.disk_usage(folder).free
    if needed > free:  # a mapped file on a full disk ends the process without a word
        raise ValueError(
            f"{root}: {shape[0]} pictures of {shape[1]} px take {needed / 1e9:.1f} GB on the disk at {folder}, which "
            f"has {free / 1e9:.1f}; make room, or raise config.data.memory_limit_gb={limit_gb}."
        )
    with file:
        return np.memmap(file, np.uint8, "w+", shape=shape)


@dataclass(frozen=True)
class _Sampler:
    """Draws the views and the augmentation of one sample, from its number and a random generator."""

    source: DataSource
    config: dict

    def __call__(self, sample: int, rng: np.random.Generator) -> Draw:
        first, end = self.source.first_sample[self.source.object_of[sample] :][:2]
        others = np.delete(np.arange(first, end), sample - first)
        further = rng.choice(others, self.config["num_target_views"] - 1, replace=False)
        return draw_augmentation(rng, self.config["augment"], (int(sample), *further.tolist()))


def make_batches(
    source: DataSource,
    config: ConfigDict | dict,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    rows: tuple[int, int] | None = None,
) -> Iterator[Batch]:
    """Batches for ever, from any step on.

    Args:
      source: the split.
      config: as for ``DataSource``.
      batch_size: of all processes together.
      seed: of order, views and augmentation.
      start_step: the step of the first batch; batches do not depend on where one started.
      rows: the first row of every batch that this process makes, and the row after the last; None for all.

    Yields:
      Numpy batches of those rows; `batches_ahead` of them are made ahead, each by a thread.

    Raises:
      ValueError: there are no such rows, or the config does not fit the data.
    """
    first, end = (0, batch_size) if rows is None else rows
    if not 0 <= first < end <= batch_size:
        raise ValueError(f"batch_size={batch_size}: must be positive, and hold the rows {first} to {end}.")
    full = checked_config(config, source.images.shape[1], int(np.diff(source.first_sample).min()))
    if full["render_size"] != source.targets.shape[1]:
        raise ValueError(f"render_size={full['render_size']}: the source was made for {source.targets.shape[1]}.")
    if full["augment"]["box"] and source.annotated_boxes is None:
        raise ValueError(
            f"augment.box={full['augment']['box']}: {source.root} has no annotated boxes; set it to 0, or delete the "
            "folder and prepare it again, from CUB or PASCAL3D+."
        )
    samples = grain.MapDataset.source(source).seed(seed).shuffle().repeat()
    # Drawing is cheap, so every process draws for the whole batch; only its own rows become pictures.
    draws = samples.random_map(_Sampler(source, full)).batch(batch_size, batch_fn=list)
    batches = draws.map(lambda drawn: make_batch(source, drawn[first:end], full))
    options = grain.ReadOptions(
        num_threads=full["num_threads"], prefetch_buffer_size=batches_ahead(full["num_threads"])
    )
    return iter(batches.slice(slice(start_step, None)).to_iter_dataset(options))


def batches_ahead(num_threads: int) -> int:
    """How many batches `make_batches` keeps ready."""
    return 2 * num_threads


def evaluation_batch(source: DataSource, object_index: int, view_indices: list[int]) -> Batch:
    """Some views of one object as they are: each is an input, and its own supervising view.

    Args:
      source: the split.
      object_index: into ``source.ids``.
      view_indices: which views, at least one.

    Returns:
      A batch of ``len(view_indices)`` with one supervising view each, nothing in it random.

    Raises:
      ValueError: there is no such object or view.
    """
    samples = [source.sample_number(object_index, view) for view in view_indices]
    return make_batch(source, [Draw(views=(sample,)) for sample in samples], source.config)


def photo_input(
    rgb: Float[np.ndarray, "h w 3"], mask: Float[np.ndarray, "mask_h mask_w"], config: ConfigDict | dict
) -> Float[np.ndarray, "i i c"]:
    """What the model sees of a photograph and its mask, as ``load_photo`` gives them.

    Args:
      rgb: straight colour in [0, 1].
      mask: in [0, 1].
      config: as for ``DataSource``.

    Returns:
      As ``Batch.image``: cropped to the object, RGB over the background and the coverage or, with
      ``input_masked=False``, RGB alone, over its own.

    Raises:
      ValueError: the mask is empty, or of another size than the picture.
    """
    full = checked_config(config)
    masked = full["input_masked"]
    square, coverage = crop_to_mask(
        rgb, mask, full["image_size"], padding=full["crop_padding"], background=full["background"], masked=masked
    )
    return np.concatenate([square, coverage[..., None]], axis=-1) if masked else square


def make_batch(source: DataSource, draws: list[Draw], config: dict) -> Batch:
    """The pictures and cameras of drawn samples.

    Args:
      source: the split.
      draws: one per sample; all with the same number of views, the first of which is the input.
      config: complete, from ``checked_config``.

    Returns:
      The batch, numpy float32.
    """
    views = np.array([draw.views for draw in draws])
    stored = {name: array[views] for name, array in source.views.items()}
    keypoints = stored.pop("keypoints_ndc")
    around = opaque(source.targets[views]) if source.shows_surroundings else None
    camera, targets = PerspectiveCamera(**stored), premultiplied(source.targets[views])
    whole, annotated = source.boxes, source.annotated_boxes
    firsts = [draw.views[0] for draw in draws]
    boxes = [input_box(whole[k], None if annotated is None else annotated[k], draw) for k, draw in zip(firsts, draws)]
    masked = config["input_masked"] or source.cut_out
    inputs = cut_inputs(source.images[views[:, 0]], boxes, config["image_size"], masked=masked)
    seen = crop_camera(jax.tree.map(lambda x: x[:, 0], camera), boxes, source.images.shape[1:3])
    if config["input_crop"] == "frame" and any(box != whole[k] for k, box in zip(firsts, boxes)):
        targets, camera, keypoints = crop_first_view(targets, camera, keypoints, boxes, source.images.shape[1])
        around = None if around is None else crop_first_surroundings(around, boxes, source.images.shape[1])
    inputs = mirrored_pictures(recoloured(inputs, draws), draws)
    targets = mirrored_pictures(recoloured(targets, draws), draws)
    shown = targets if around is None else mirrored_pictures(recoloured(around, draws), draws)
    camera = jax.tree.map(lambda one, rest: np.concatenate([one[:, None], rest], 1), seen, camera)
    camera, keypoints = mirrored_views(camera, keypoints, draws, source.mirror_order)
    camera = camera_of(source.camera_kind, *jax.tree.leaves(camera))
    return Batch(
        image=shown_pictures(inputs, config["background"], masked=masked),
        input_camera=jax.tree.map(lambda x: x[:, 0], camera),
        target_images=composite(shown, config["background"]),
        target_masks=np.ascontiguousarray(targets[..., 3]),
        camera=jax.tree.map(lambda x: x[:, 1:], camera),
        keypoints_ndc=keypoints,
        index=views[:, 0].astype(np.int32),
        frame=first_frames(boxes if config["input_crop"] == "frame" else None, source.images.shape[1], draws),
    )


def camera_of(kind: str, rotation, translation, focal, principal) -> PerspectiveCamera | OrthographicCamera:
    """The stored numbers of any leading axes as the camera that they belong to; ``kind`` is one of ``CAMERAS``."""
    if kind == "orthographic":
        return OrthographicCamera(rotation, translation, scale=focal, principal=principal)
    return PerspectiveCamera(rotation, translation, focal, principal)
