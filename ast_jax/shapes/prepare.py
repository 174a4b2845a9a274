"""From meshes to a data set on disk: views, masks, cameras, and the 3D truth to evaluate with."""

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ast_jax.data.contact_sheet import save_contact_sheet
from ast_jax.data.near_duplicates import (
    check_fractions,
    cluster_shapes,
    join_labels,
    shape_fingerprint,
    split_by_group,
)
from ast_jax.data.occupancy import solid_occupancy
from ast_jax.data.records import MANIFEST, claim_folder
from ast_jax.data.store import ObjectRecord, load_object, save_index, save_object
from ast_jax.files.limits import check_memory
from ast_jax.files.names import printable
from ast_jax.files.writing import append_lines, make_writable_folder, write_text
from ast_jax.shapes.mesh_files.polygon_mesh import check_vertices
from ast_jax.shapes.meshes import LazyMesh
from ast_jax.shapes.normalise import drop_transparent, normalise
from ast_jax.shapes.outer_surface import sample_outer_surface
from ast_jax.shapes.source_mesh import SourceMesh
from ast_jax.shapes.views import (
    VIEWS_PER_CALL,
    paint_views,
    project_keypoints,
    random_cameras,
    ring_of_cameras,
    sample_views,
)
from render.camera import NMR_DISTANCE

NUM_SURFACE_POINTS = 10_000
OCCUPANCY_SIDE = 32
# Finer: tells the outer skin from what lies two of these voxels behind it.
SKIN_SIDE = 64
# What the rasterizer counts in 32 bits.
MAX_PIXELS_PER_CALL = 2**31 - 1
# Categories of hollow bodies with windows, often modelled without a floor.
ENCLOSED_CATEGORIES = ("car",)


@dataclass(frozen=True)
class PictureSettings:
    """How the pictures are made; a folder holds objects of one setting only.

    Args:
      image_size: pixels per side.
      num_views: cameras at equal steps of azimuth, the first one before the object.
      elevation_deg, distance, fov_deg: of every camera; the object has a bounding sphere of radius 0.5.
      supersample: samples per pixel side.
      shading: 0 shows the bare texture, 1 is the strongest light and shade.
      seed: of surface points, of random views and of the split.
      enclosed: the objects are bodies such as cars: in the solid, glass counts as wall, and what is open below only
        counts as filled. None: for the category car.
      view_layout: ``ring``, or ``random``: azimuths and elevations (0 to 60 degrees) drawn by the seed, others for each
        shape; for test sets with views that no ring contains.
    """

    image_size: int = 64
    num_views: int = 24
    elevation_deg: float = 30.0
    distance: float = NMR_DISTANCE
    fov_deg: float = 30.0
    supersample: int = 4
    shading: float = 0.3
    seed: int = 0
    enclosed: bool | None = None
    view_layout: str = "ring"

    def facts(self) -> dict:
        """For JSON; the layout only if it is not the usual one, for data sets are older than the others."""
        found = asdict(self)
        return {name: value for name, value in found.items() if (name, value) != ("view_layout", "ring")}


def prepare_objects(
    meshes: Iterable[SourceMesh | LazyMesh],
    root: str | Path,
    pictures: PictureSettings = PictureSettings(),
    *,
    category: str,
    split_fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
    keypoint_names: tuple[str, ...] = (),
    on_error: str = "skip",
    notices: Sequence[str] = (),
    progress: bool = False,
) -> dict:
    """Render every mesh and write ``dataset.json``, ``objects/``, ``manifest.jsonl`` and ``contact.png``.

    Objects that are already there, and whole, are not rendered again. The same input gives the same bytes.

    Args:
      meshes: with +Y up and the front towards +Z, in any scale; the objects of one ``group``, and shapes that
        are nearly the same, stay on one side of the split. A LazyMesh is read only if it is not there yet.
      root: folder of the data set.
      pictures: how they are made.
      category: what the objects are.
      split_fractions: train, val, test.
      keypoint_names: of the key points that the meshes have.
      on_error: ``skip`` leaves a bad mesh out, whatever is wrong with it, and names it under ``skipped``; of two
        objects with one id the second one is left out. ``raise`` stops there.
      notices: what is to be told of the source as a whole; goes into the index before the notices of the meshes.
      progress: show a bar.

    Returns:
      The index as written to ``dataset.json``.

    Raises:
      ValueError: settings out of range or not those of the objects there, a folder that cannot be written to, a
        bad mesh with ``on_error="raise"``, or no good mesh at all.
      OSError: the disk is full; the same call goes on once there is room.
    """
    if on_error not in ("skip", "raise"):
        raise ValueError(f"on_error={on_error!r}: choose 'skip' or 'raise'.")
    is_enclosed = category in ENCLOSED_CATEGORIES if pictures.enclosed is None else pictures.enclosed
    settings = replace(pictures, enclosed=is_enclosed)
    _check_settings(settings)
    sizes = (f"{name}={getattr(settings, name)}" for name in ("image_size", "num_views", "supersample"))
    check_memory(", ".join(sizes), _memory(settings))
    check_fractions(split_fractions)
    root = Path(root)
    make_writable_folder(root)
    claim_folder(root, settings.facts())
    done = _read_manifest(root)
    entries, skipped = {}, []
    painter = _Painter(settings)
    for item in tqdm(meshes, desc=f"prepare {category}", unit="object", disable=not progress):
        try:
            if item.object_id in entries:
                raise ValueError("the id comes twice; every object needs its own, this one is left out.")
            entry = done.get(item.object_id)
            if entry is None or not _is_whole(root, item.object_id):
                entry = _prepare_one(item, root, painter)
                _append_manifest(root, entry)
            entries[item.object_id] = entry
        except OSError:  # of the data set's own folder: the next object would meet it too
            raise
        except Exception as error:  # readers and meshes can be wrong in ways that nobody thought of
            reason = printable(f"{item.object_id}: {_reason(error)}")
            if on_error == "raise":
                raise ValueError(reason) from error
            skipped.append(reason)
    if not entries:
        reason = " ".join(skipped[:3]) or "The source holds none."
        raise ValueError(f"{root}: no object could be prepared. {reason}")
    told = [*notices, *(f"{name}: {line}" for name, entry in entries.items() for line in entry.get("notices", ()))]
    facts = {"skipped": skipped, "notices": [printable(line) for line in told]}
    return _finish(root, list(entries.values()), settings, category, split_fractions, keypoint_names, facts)


def _reason(error: BaseException) -> str:
    """What went wrong; errors that nobody thought of say what they are."""
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _is_whole(root: Path, object_id: str) -> bool:
    """Whether the object is on disk from its first array to its last; not where a crash or a full disk cut it short."""
    try:
        load_object(root, object_id)
    except ValueError:
        return False
    return True


def _check_settings(settings: PictureSettings) -> None:
    for name in ("image_size", "num_views", "supersample"):
        if getattr(settings, name) < 1:
            raise ValueError(f"{name}={getattr(settings, name)}: must be at least 1.")
    if settings.seed < 0:
        raise ValueError(f"seed={settings.seed}: must be at least 0.")
    samples = VIEWS_PER_CALL * (settings.image_size * settings.supersample) ** 2
    if samples > MAX_PIXELS_PER_CALL:
        raise ValueError(
            f"image_size={settings.image_size} times supersample={settings.supersample}: {VIEWS_PER_CALL} such "
            f"pictures have more than {MAX_PIXELS_PER_CALL:,} samples; lower one of them."
        )
    if settings.view_layout not in ("ring", "random"):
        raise ValueError(f"view_layout={settings.view_layout!r}: choose 'ring' or 'random'.")
    if not 0 <= settings.shading <= 1:
        raise ValueError(f"shading={settings.shading}: must be between 0 and 1.")
    if settings.distance <= 0.6:
        raise ValueError(f"distance={settings.distance}: must exceed 0.6, the object reaches 0.5 from the origin.")
    if not 0 < settings.fov_deg < 180:
        raise ValueError(f"fov_deg={settings.fov_deg}: must be between 0 and 180.")


def _memory(settings: PictureSettings) -> int:
    """Bytes that the pictures of one object take at most: what each sample sees, and one call of the rasterizer.

    40 num_views (supersample image_size)^2 for face, place, depth and barycentrics, 24 for each sample of a call.
    """
    return (40 * settings.num_views + 24 * VIEWS_PER_CALL) * (settings.image_size * settings.supersample) ** 2


class _Painter:
    """Renders objects; remembers what the last one showed, for liveries of one airframe share geometry."""

    def __init__(self, settings: PictureSettings):
        self.settings = settings
        self.ring = ring_of_cameras(settings.num_views, settings.elevation_deg, settings.distance, settings.fov_deg)
        self._key, self._geometry = None, None

    def record(self, mesh: SourceMesh, body: SourceMesh) -> ObjectRecord:
        """Render ``mesh``; ``body`` is what its solid is made of."""
        key = (mesh.vertices.tobytes(), mesh.faces.tobytes(), body.faces.tobytes())
        if key != self._key:
            self._key, self._geometry = key, self._measure(mesh, body)
        camera, samples, occupancy, points, normals = self._geometry
        keypoints = mesh.keypoints if mesh.keypoints is not None else np.zeros((0, 3))
        return ObjectRecord(
            images=paint_views(mesh, samples, self.settings.supersample),
            rotation=np.asarray(camera.rotation, np.float32),
            translation=np.asarray(camera.translation, np.float32),
            focal=np.asarray(camera.focal, np.float32),
            principal=np.asarray(camera.principal, np.float32),
            occupancy=occupancy,
            surface_points=points.astype(np.float32),
            surface_normals=normals.astype(np.float32),
            keypoints_ndc=project_keypoints(keypoints, camera, samples),
            vertices=mesh.vertices.astype(np.float32),
            faces=mesh.faces.astype(np.int32),
        )

    def _measure(self, mesh: SourceMesh, body: SourceMesh) -> tuple:
        settings = self.settings
        rng = np.random.default_rng([settings.seed, zlib.crc32(mesh.vertices.tobytes())])
        size = settings.image_size * settings.supersample
        camera = self.ring
        if settings.view_layout == "random":
            views_rng = np.random.default_rng([settings.seed, 1, zlib.crc32(mesh.vertices.tobytes())])
            camera = random_cameras(settings.num_views, views_rng, settings.distance, settings.fov_deg)
        samples = sample_views(mesh, camera, size, settings.shading)
        coarse, fine = (
            solid_occupancy(body.vertices, body.faces, side, open_below=settings.enclosed)
            for side in (OCCUPANCY_SIDE, SKIN_SIDE)
        )
        points, normals = sample_outer_surface(mesh.vertices, mesh.faces, fine, NUM_SURFACE_POINTS, rng)
        return camera, samples, coarse, points, normals


def _prepare_one(item: SourceMesh | LazyMesh, root: Path, painter: _Painter) -> dict:
    """Read, render and save one object; its line of the manifest."""
    try:
        mesh = item.load() if isinstance(item, LazyMesh) else item
    except OSError as error:
        raise ValueError(f"cannot be read ({error})") from error
    check_vertices(mesh.object_id, mesh.vertices)
    opaque = drop_transparent(mesh)
    notices = list(mesh.notices)
    if hidden := len(mesh.faces) - len(opaque.faces):
        notices.append(f"{hidden} of {len(mesh.faces)} faces are transparent and left out")
    body = normalise(mesh, like=opaque) if painter.settings.enclosed else normalise(opaque)
    mesh = normalise(opaque)
    record = painter.record(mesh, body)
    _check_seen(record)
    save_object(root, mesh.object_id, record)
    return {
        "object_id": mesh.object_id,
        "group": mesh.group or mesh.object_id,
        "faces": len(mesh.faces),
        "textured": mesh.corner_uv is not None or mesh.corner_colours is not None,
        **mesh.provenance,
        **({"notices": notices} if notices else {}),
    }


def _check_seen(record: ObjectRecord) -> None:
    """Raises a ValueError where a picture has nothing to crop to: a training would refuse the whole data set."""
    seen = record.images[..., 3].any(axis=(1, 2))
    if not seen.all():
        raise ValueError(f"view {np.argmin(seen)} shows nothing: the object has no area, or is flat and seen edge-on.")


def _finish(root, entries, settings, category, split_fractions, keypoint_names, facts) -> dict:
    """Splits, index, manifest in the order of the input, contact sheet."""
    ids = [entry["object_id"] for entry in entries]
    clusters = _cluster_on_disk(root, ids)
    groups = join_labels([entry["group"] for entry in entries], clusters)
    positions = split_by_group(list(groups), split_fractions, settings.seed)
    splits = {name: [ids[k] for k in rows] for name, rows in positions.items()}
    side = {object_id: name for name, members in splits.items() for object_id in members}
    lines = [{**entry, "cluster": int(c), "split": side[entry["object_id"]]} for entry, c in zip(entries, groups)]
    write_text(root / MANIFEST, "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines))
    index = {
        "category": category,
        **settings.facts(),
        "keypoint_names": list(keypoint_names),
        "splits": splits,
        **facts,
    }
    save_index(root, index)
    save_contact_sheet(root, ids)
    return index


def _cluster_on_disk(root: Path, ids: list[str]) -> np.ndarray:
    """Near-duplicate clusters; objects with the very same geometry are measured once."""
    prints: dict[bytes, np.ndarray] = {}
    keys = []
    for object_id in ids:
        record = load_object(root, object_id)
        key = record.vertices.tobytes() + record.faces.tobytes()
        if key not in prints:
            prints[key] = shape_fingerprint(record.vertices, record.faces)
        keys.append(key)
    labels = dict(zip(prints, cluster_shapes(list(prints.values()))))
    return np.array([labels[key] for key in keys])


def _read_manifest(root: Path) -> dict[str, dict]:
    """Object id -> line. A line that a crash cut short is ignored: its object is rendered again."""
    path = root / MANIFEST
    entries = {}
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    for line in text.split("\n"):
        try:
            entry = json.loads(line)
            entries[entry["object_id"]] = {k: v for k, v in entry.items() if k not in ("cluster", "split")}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return entries


def _append_manifest(root: Path, entry: dict) -> None:
    append_lines(root / MANIFEST, json.dumps(entry, sort_keys=True) + "\n")
