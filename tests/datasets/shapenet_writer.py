"""Writes ShapeNet's three published layouts by their own formulas: a scene of boxes, drawn by casting rays.

Nothing here uses the package: cameras, pictures, voxels and points come from the boxes alone.
"""

import zipfile

import numpy as np
import trimesh
from PIL import Image

# Lower and upper corners, in our space: right-handed, +Y up, front +Z. No flip or exchange of axes leaves it alike.
BOXES = np.array(
    [
        [[-0.22, -0.16, -0.36], [0.20, 0.06, 0.28]],
        [[-0.20, 0.05, -0.12], [0.02, 0.27, 0.16]],
        [[0.02, -0.14, 0.27], [0.18, 0.00, 0.41]],
        [[-0.30, -0.02, -0.34], [-0.21, 0.05, -0.10]],
    ]
)
COLOURS = np.array([[180, 40, 40], [40, 150, 60], [40, 60, 190], [190, 120, 20]], np.uint8)
NUM_VIEWS = 24
DISTANCE, ELEVATION_DEG, HALF_ANGLE_DEG = 2.732, 30.0, 15.0
# Our axes in ShapeNetCore.v1, whose front is +X: (x, y, z) -> (z, y, -x).
TO_V1 = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])


def unit_boxes() -> np.ndarray:
    """The scene as Occupancy Networks normalises it: box centre at the origin, longer side 1."""
    low, high = BOXES[:, 0].min(0), BOXES[:, 1].max(0)
    return (BOXES - (low + high) / 2) / (high - low).max()


def mesh_of(boxes: np.ndarray) -> trimesh.Trimesh:
    return trimesh.util.concatenate([trimesh.creation.box(bounds=box) for box in boxes])


def inside(boxes: np.ndarray, points: np.ndarray) -> np.ndarray:
    return ((points[..., None, :] > boxes[:, 0]) & (points[..., None, :] < boxes[:, 1])).all(-1).any(-1)


def moved(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Boxes under a matrix that only exchanges and negates axes."""
    corners = boxes @ matrix.T
    return np.stack([corners.min(1), corners.max(1)], 1)


def cast(boxes, eye, right, up, forward, half_width: float, size: int) -> np.ndarray:
    """RGBA of the boxes: one ray through each pixel centre, row 0 at the top.

    Args:
      right, up, forward: unit directions of the picture in the world of the boxes.
      half_width: tangent of half the field of view.
    """
    step = (2 * np.arange(size) + 1) / size - 1
    x, y = np.meshgrid(step, -step)
    rays = forward + half_width * (x[..., None] * right + y[..., None] * up)
    with np.errstate(divide="ignore"):
        meet = (boxes[:, :, None, None] - eye) / rays
    near, far = meet.min(1).max(-1), meet.max(1).min(-1)
    hit = (near <= far) & (far > 0)
    depth = np.where(hit, near, np.inf)
    picture = np.zeros((size, size, 4), np.uint8)
    seen = hit.any(0)
    picture[seen, :3] = COLOURS[depth.argmin(0)[seen]]
    picture[seen, 3] = 255
    return picture


def nmr_view(boxes_nmr: np.ndarray, azimuth_deg: float, size: int) -> np.ndarray:
    """What NMR draws of boxes in its space: its look_at takes up x forward for the right-hand side."""
    azimuth, elevation = np.deg2rad([azimuth_deg, ELEVATION_DEG])
    eye = DISTANCE * np.array(
        [np.cos(elevation) * np.sin(azimuth), np.sin(elevation), -np.cos(elevation) * np.cos(azimuth)]
    )
    z = -eye / np.linalg.norm(eye)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    return cast(boxes_nmr, eye, x, np.cross(z, x), z, np.tan(np.deg2rad(HALF_ANGLE_DEG)), size)


def nmr_voxels(boxes_nmr: np.ndarray, side: int = 32) -> np.ndarray:
    """The solid by NMR's evaluation: shrunk by 31/32, cells that it touches; then the axes of the files."""
    solid = np.zeros((side,) * 3, bool)
    for low, high in boxes_nmr:
        first, last = (np.floor((corner * (side - 1) / side + 0.5) * side).astype(int) for corner in (low, high))
        solid[tuple(slice(a, b + 1) for a, b in zip(first, last))] = True
    return solid.transpose(0, 2, 1)[:, :, ::-1]


def write_nmr(folder, identifier: str, counts: dict[str, int], size: int = 64, compressed: bool = True) -> None:
    """Object k of a file is the scene shrunk by 1 - k / 10."""
    save = np.savez_compressed if compressed else np.savez
    for split, count in counts.items():
        scenes = [moved(BOXES * (1 - k / 10), np.diag([1.0, 1.0, -1.0])) for k in range(count)]
        images = [[nmr_view(boxes, -15.0 * i, size).transpose(2, 0, 1) for i in range(NUM_VIEWS)] for boxes in scenes]
        save(folder / f"{identifier}_{split}_images.npz", np.array(images))
        save(folder / f"{identifier}_{split}_voxels.npz", np.array([nmr_voxels(boxes) for boxes in scenes]))


def opencv_axes(eye: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right, up and forward of a right-handed camera that looks at the origin."""
    forward = -eye / np.linalg.norm(eye)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    return right, np.cross(right, forward), forward


def orbit_eye(azimuth_deg: float, elevation_deg: float, distance: float) -> np.ndarray:
    """In our space: azimuth 0 before +Z, growing towards +X."""
    azimuth, elevation = np.deg2rad([azimuth_deg, elevation_deg])
    level = np.cos(elevation)
    return distance * np.array([level * np.sin(azimuth), np.sin(elevation), level * np.cos(azimuth)])


def write_dvr_model(folder, to_world: np.ndarray, size: int = 64, num_points: int = 500) -> None:
    """One model of DVR's tree, whose world is ours under an orthogonal matrix; a reflection mirrors its cameras."""
    for name in ("image", "mask"):
        (folder / name).mkdir(parents=True)
    half = np.tan(np.deg2rad(HALF_ANGLE_DEG))
    cameras = {}
    for i in range(NUM_VIEWS):
        eye = orbit_eye(-15.0 * i, ELEVATION_DEG, DISTANCE)
        right, up, forward = opencv_axes(eye)
        picture = cast(BOXES, eye, right, up, forward, half, size)
        white = np.where(picture[..., 3:] > 0, picture[..., :3], 255).astype(np.uint8)
        Image.fromarray(white).save(folder / f"image/{i:04d}.png")
        Image.fromarray(picture[..., 3]).save(folder / f"mask/{i:04d}.png")
        rotation = np.stack([right, -up, forward])
        world = np.eye(4)
        world[:3, :3], world[:3, 3] = rotation @ to_world.T, -rotation @ eye
        cameras[f"world_mat_{i}"] = world
        cameras[f"camera_mat_{i}"] = np.diag([1 / half, 1 / half, 1.0, 1.0])
    np.savez(folder / "cameras.npz", **cameras)
    points, normals = surface(BOXES, num_points)
    np.savez(folder / "pointcloud.npz", points=points @ to_world.T, normals=normals @ to_world.T)


def surface(boxes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of the boxes' surfaces that no other box hides, and normals."""
    mesh = mesh_of(boxes)
    points, faces = trimesh.sample.sample_surface(mesh, count, seed=0)
    outer = ~inside(boxes, points)
    return points[outer], mesh.face_normals[faces[outer]]


def write_occnet_model(folder, num_views: int = 3, num_points: int = 20_000, masks: bool = False) -> None:
    """One model of the tree: the normalised scene, scaled and moved, is what the cameras see."""
    rng = np.random.default_rng(0)
    boxes, scale, loc = moved(unit_boxes(), TO_V1), 0.7, np.array([0.03, -0.02, 0.05])
    pictures = folder / "img_choy2016"
    pictures.mkdir(parents=True)
    cameras = {}
    for i in range(num_views):
        eye = orbit_eye(rng.uniform(0, 360), rng.uniform(25, 30), 1.6)
        right, up, forward = opencv_axes(eye)
        picture = cast(boxes * scale + loc, eye, right, up, forward, 0.5, 137)
        white = np.where(picture[..., 3:] > 0, picture[..., :3], 255).astype(np.uint8)
        Image.fromarray(white).save(pictures / f"{i:03d}.jpg", quality=95)
        if masks:
            (folder / "mask").mkdir(exist_ok=True)
            Image.fromarray(picture[..., 3]).save(folder / f"mask/{i:03d}.png")
        rotation = np.stack([right, -up, forward])
        cameras[f"world_mat_{i}"] = np.concatenate([rotation, -rotation @ eye[:, None]], 1)
        cameras[f"camera_mat_{i}"] = np.array([[137.0, 0, 68.5], [0, 137.0, 68.5], [0, 0, 1]])
    np.savez(pictures / "cameras.npz", **cameras)
    points = rng.uniform(-0.55, 0.55, (num_points, 3)).astype(np.float16)
    bits = np.packbits(inside(boxes, points.astype(float)))
    np.savez(folder / "points.npz", points=points, occupancies=bits, loc=loc, scale=scale)
    cloud, normals = surface(boxes, 500)
    np.savez(
        folder / "pointcloud.npz",
        points=cloud.astype(np.float16),
        normals=normals.astype(np.float16),
        loc=loc,
        scale=scale,
    )
    (folder / "model.binvox").write_bytes(binvox_of(boxes))


def binvox_of(boxes: np.ndarray, side: int = 32) -> bytes:
    """Voxels whose centre is inside, the box of the model pushed into the corner of the grid, as binvox does it."""
    low, high = boxes[:, 0].min(0), boxes[:, 1].max(0)
    centre = (np.arange(side) + 0.5) / side * (high - low).max()
    places = np.stack(np.meshgrid(*(low[:, None] + centre), indexing="ij"), -1)
    values = inside(boxes, places).transpose(0, 2, 1).ravel().astype(np.uint8)  # x, z, y
    runs, start = bytearray(), 0
    while start < len(values):
        end = start
        while end < len(values) and end - start < 255 and values[end] == values[start]:
            end += 1
        runs += bytes([values[start], end - start])
        start = end
    header = f"#binvox 1\ndim {side} {side} {side}\ntranslate -3 7 11\nscale 2.5\ndata\n"
    return header.encode() + bytes(runs)


def zip_folder(folder, path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder).as_posix())
