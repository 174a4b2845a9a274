"""Cameras from and to the conventions of other projects.

A converted camera keeps the world: the same vertices fall on the same pixels here and there. Where the other
project's pictures are mirrored (SoftRas, NMR), the rotation therefore has determinant -1.

Every `from_x` takes jax or numpy arrays with free leading axes, which broadcast; `near` and `far` are those
of the new camera, they clip nothing. Image sizes are (height, width). Values that the other side cannot
express raise a ValueError where they are known, that is outside `jax.jit`.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from render.arrays import Array, check_image_size, check_trailing, is_concrete
from render.camera import Camera, PerspectiveCamera, WeakPerspectiveCamera, orbit
from render.matrices import affine, columns, product, scale_columns, stack_matrix

# Signs that take a view with x right, y down, z forward (OpenCV) to x right, y up, z backward, and back.
_FROM_OPENCV = (1.0, -1.0, -1.0)
# The same for x left, y up, z forward (PyTorch3D).
_FROM_PYTORCH3D = (-1.0, 1.0, -1.0)
# Largest error of a rotation, or of an entry that has to be zero, that is taken for rounding.
_ROUNDING = 1e-3


def from_opengl(
    view: Float[Array, "*#b 4 4"], projection: Float[Array, "*#b 4 4"], *, near: float = 0.1, far: float = 100.0
) -> PerspectiveCamera:
    """Camera of OpenGL's matrices: `clip = projection view x_world`, column vectors.

    Args:
        view: world to view, the camera looks down -z.
        projection: perspective; its third row (depth) is not read.
        near, far: of the new camera.

    Raises:
        ValueError: wrong shape, a view that is no rigid motion, a projection that is orthographic, skewed or turned.

    Source: The OpenGL Graphics System, version 2.1, 2.11.2 and glFrustum.
    """
    check_trailing(view=(view, (4, 4)), projection=(projection, (4, 4)))
    view, projection = jnp.asarray(view), jnp.asarray(projection)
    _check_rotation("view[:3, :3]", view[..., :3, :3])
    _check_equal("projection[3]", projection[..., 3, :], (0.0, 0.0, -1.0, 0.0))
    _check_equal("projection[:2, 3]", projection[..., :2, 3], 0.0)
    _check_equal("projection[0, 1] and projection[1, 0]", projection[..., (0, 1), (1, 0)], 0.0)
    focal = jnp.stack([projection[..., 0, 0], projection[..., 1, 1]], axis=-1)
    return _perspective(view[..., :3, :3], view[..., :3, 3], focal, -projection[..., :2, 2], near, far)


def to_opengl(camera: Camera) -> tuple[Float[Array, "*b 4 4"], Float[Array, "*b 4 4"]]:
    """OpenGL's view and projection matrices of any camera; see `from_opengl`."""
    if isinstance(camera, WeakPerspectiveCamera):
        camera = camera.orthographic()
    span = camera.far - camera.near
    perspective = isinstance(camera, PerspectiveCamera)
    (x, y), (offset_x, offset_y) = map(columns, (camera.focal if perspective else camera.scale, camera.principal))
    zero, one = jnp.zeros_like(x), jnp.ones_like(x)
    if perspective:
        depth = [zero, zero, -(camera.far + camera.near) / span * one, -2 * camera.far * camera.near / span * one]
        rows = [[x, zero, -offset_x, zero], [zero, y, -offset_y, zero], depth, [zero, zero, -one, zero]]
    else:
        depth = [zero, zero, -2.0 / span * one, -(camera.far + camera.near) / span * one]
        rows = [[x, zero, zero, offset_x], [zero, y, zero, offset_y], depth, [zero, zero, zero, one]]
    return affine(camera.rotation, camera.translation), stack_matrix(rows)


def from_opencv(
    intrinsics: Float[Array, "*#b 3 3"],
    rotation: Float[Array, "*#b 3 3"],
    translation: Float[Array, "*#b 3"],
    image_size: tuple[int, int],
    *,
    near: float = 0.1,
    far: float = 100.0,
) -> PerspectiveCamera:
    """Camera of OpenCV's matrices: `(u, v, 1) ~ K (R x_world + t)`, x right, y down, z forward.

    Args:
        intrinsics: K in pixels. The centre of the first pixel is (0.5, 0.5), as in COLMAP and PyTorch3D; where it
            is (0, 0), as in OpenCV's own calibration, add 0.5 to the principal point first.
        rotation: R, world to camera.
        translation: t in world units.
        image_size: of the pictures that K belongs to.
        near, far: of the new camera.

    Raises:
        ValueError: wrong shape, K with skew or without (0, 0, 1) as its last row, R that is no rotation, empty image.

    Source: OpenCV documentation, Camera Calibration and 3D Reconstruction (projectPoints, without distortion).
    """
    check_image_size(image_size)
    check_trailing(intrinsics=(intrinsics, (3, 3)), rotation=(rotation, (3, 3)), translation=(translation, (3,)))
    height, width = image_size
    to_unit = [[2.0 / width, 0.0, -1.0], [0.0, 2.0 / height, -1.0], [0.0, 0.0, 1.0]]
    return _from_y_down(product(to_unit, intrinsics), rotation, translation, near, far)


def to_opencv(
    camera: PerspectiveCamera, image_size: tuple[int, int]
) -> tuple[Float[Array, "*b 3 3"], Float[Array, "*b 3 3"], Float[Array, "*b 3"]]:
    """OpenCV's K, R, t of a camera for pictures of a size; see `from_opencv`."""
    check_image_size(image_size)
    height, width = image_size
    unit, rotation, translation = _to_y_down(camera)
    to_pixels = [[0.5 * width, 0.0, 0.5 * width], [0.0, 0.5 * height, 0.5 * height], [0.0, 0.0, 1.0]]
    return product(to_pixels, unit), rotation, translation


def from_pytorch3d(
    rotation: Float[Array, "*#b 3 3"],
    translation: Float[Array, "*#b 3"],
    focal_length: Float[Array, "*#b 2"],
    principal_point: Float[Array, "*#b 2"],
    image_size: tuple[int, int],
    *,
    near: float = 0.1,
    far: float = 100.0,
) -> PerspectiveCamera:
    """Camera of PyTorch3D's `PerspectiveCameras(in_ndc=True)`: `x_view = x_world R + T`, x left, y up, z forward,
    `x_ndc = focal_length_x x_view / z_view + principal_point_x`, where the shorter side of the picture spans
    [-1, 1].

    Args:
        rotation: R, which multiplies row vectors from the right.
        translation: T in world units.
        focal_length: NDC; `1 / tan(fov / 2)` twice for a `FoVPerspectiveCameras` of a square picture.
        principal_point: NDC, x left, y up.
        image_size: of the pictures.
        near, far: of the new camera.

    Raises:
        ValueError: wrong shape, R that is no rotation, empty image.

    Source: PyTorch3D documentation, Cameras.
    """
    check_image_size(image_size)
    check_trailing(
        rotation=(rotation, (3, 3)), translation=(translation, (3,)), focal_length=(focal_length, (2,)),
        principal_point=(principal_point, (2,)),
    )  # fmt: skip
    _check_rotation("rotation", rotation)
    side = _shorter_side(image_size)
    focal, principal = (scale_columns(value, side) for value in (focal_length, principal_point))
    rotation, translation = _flip(_FROM_PYTORCH3D, jnp.asarray(rotation).mT, translation)
    return _perspective(rotation, translation, focal, scale_columns(principal, (-1.0, 1.0)), near, far)


def to_pytorch3d(
    camera: PerspectiveCamera, image_size: tuple[int, int]
) -> tuple[Float[Array, "*b 3 3"], Float[Array, "*b 3"], Float[Array, "*b 2"], Float[Array, "*b 2"]]:
    """PyTorch3D's R, T, focal length and principal point for pictures of a size; see `from_pytorch3d`."""
    check_image_size(image_size)
    side = tuple(1.0 / part for part in _shorter_side(image_size))
    focal, principal = (scale_columns(value, side) for value in (camera.focal, camera.principal))
    rotation, translation = _flip(_FROM_PYTORCH3D, camera.rotation, camera.translation)
    return rotation.mT, translation, focal, scale_columns(principal, (-1.0, 1.0))


def from_softras(
    distance: Float[Array, "*#b"] | float,
    elevation_deg: Float[Array, "*#b"] | float,
    azimuth_deg: Float[Array, "*#b"] | float,
    viewing_angle_deg: Float[Array, "*#b"] | float = 30.0,
    *,
    near: float = 0.1,
    far: float = 100.0,
) -> PerspectiveCamera:
    """Camera of SoftRas and NMR (`look_at` the origin from `get_points_from_angles`):
    `eye = distance (cos el sin az, sin el, -cos el cos az)`.

    Their right-hand side is `up x forward`, which mirrors the picture of a right-handed world. So does this camera,
    its rotation has determinant -1: it sees what `orbit` of the same angles sees of the world with z negated.

    Args:
        distance: world units from the origin.
        elevation_deg: angle above the xz plane.
        azimuth_deg: angle about +Y.
        viewing_angle_deg: half the field of view; 30 is the default of both, NMR's ShapeNet pictures have 15.
        near, far: of the new camera.

    Returns:
        The camera; pictures are square.

    Raises:
        ValueError: shapes that do not broadcast.

    Source: Liu et al., Soft Rasterizer, ICCV 2019; Kato et al., Neural 3D Mesh Renderer, CVPR 2018; their code.
    """
    check_trailing(
        distance=(distance, ()), elevation_deg=(elevation_deg, ()), azimuth_deg=(azimuth_deg, ()),
        viewing_angle_deg=(viewing_angle_deg, ()),
    )  # fmt: skip
    angles = [jnp.deg2rad(value) for value in (elevation_deg, azimuth_deg, viewing_angle_deg)]
    distance, elevation, azimuth, half = jnp.broadcast_arrays(jnp.asarray(distance, dtype=float), *angles)
    camera = orbit(distance, elevation, azimuth, 2.0 * half, near=near, far=far)
    return dataclasses.replace(camera, rotation=scale_columns(camera.rotation, (1.0, 1.0, -1.0)))


def to_softras(
    camera: PerspectiveCamera,
) -> tuple[Float[Array, "*b"], Float[Array, "*b"], Float[Array, "*b"], Float[Array, "*b"]]:
    """Distance, elevation, azimuth (-180 to 180) and viewing angle in degrees of a camera; see `from_softras`.

    Raises:
        ValueError: the camera does not look at the origin with +Y up, pictures are not mirrored or not square.
    """
    rotation = camera.rotation
    elevation = jnp.rad2deg(jnp.arctan2(rotation[..., 2, 1], rotation[..., 1, 1]))
    # From the right-hand side: it is horizontal at the poles too, where the eye has no azimuth.
    azimuth = jnp.rad2deg(jnp.arctan2(rotation[..., 0, 2], rotation[..., 0, 0]))
    viewing_angle = jnp.rad2deg(jnp.arctan(1.0 / camera.focal[..., 1]))
    distance = jnp.asarray(-camera.translation[..., 2])
    same = from_softras(distance, elevation, azimuth, viewing_angle)
    why = "SoftRas looks at the origin, +Y up, square, mirrored: negate rotation[..., 2] and the z of vertices"
    for name in ("rotation", "translation", "focal", "principal"):
        _check_equal(f"camera.{name} ({why})", getattr(camera, name), getattr(same, name))
    return distance, elevation, azimuth, viewing_angle


def from_kaolin(
    rotation: Float[Array, "*#b 3 3"],
    position: Float[Array, "*#b 3"],
    projection: Float[Array, "*#b 3 1"],
    *,
    near: float = 0.1,
    far: float = 100.0,
) -> PerspectiveCamera:
    """Camera of DIB-R in Kaolin: `x_view = R (x_world - position)`, `x_ndc = p_0 x_view / (p_2 z_view)`, y alike.

    Kaolin's `camera_transform` `[4, 3]` has the rotation `R = transform[:3].T`, the position `-R.T @ transform[3]`.

    Args:
        rotation: of `generate_rotate_translate_matrices`; the camera looks down -z.
        position: of the camera in the world.
        projection: p of `generate_perspective_projection`, (1 / (aspect tan(fov_y / 2)), 1 / tan(fov_y / 2), -1).
        near, far: of the new camera.

    Raises:
        ValueError: wrong shape, R that is no rotation.

    Source: Chen et al., Learning to Predict 3D Objects, NeurIPS 2019 (DIB-R); Kaolin, kaolin.render.camera.
    """
    check_trailing(rotation=(rotation, (3, 3)), position=(position, (3,)), projection=(projection, (3, 1)))
    projection = jnp.asarray(projection)[..., 0]
    _check_rotation("rotation", rotation)
    translation = -product(rotation, position[..., None])[..., 0]
    focal = -projection[..., :2] / projection[..., 2:]
    return _perspective(rotation, translation, focal, jnp.zeros_like(focal), near, far)


def to_kaolin(camera: PerspectiveCamera) -> tuple[Float[Array, "*b 3 3"], Float[Array, "*b 3"], Float[Array, "*b 3 1"]]:
    """Kaolin's rotation, position and projection of a camera with its axis in the middle; see `from_kaolin`."""
    _check_equal("camera.principal", camera.principal, 0.0)
    projection = jnp.concatenate([camera.focal, -jnp.ones_like(camera.focal[..., :1])], axis=-1)
    return jnp.asarray(camera.rotation), camera.position_world, projection[..., None]


def from_dvr(
    world_mat: Float[Array, "*#b _ 4"],
    camera_mat: Float[Array, "*#b _ _"],
    scale_mat: Float[Array, "*#b 4 4"] | None = None,
    *,
    near: float = 0.1,
    far: float = 100.0,
) -> PerspectiveCamera:
    """Camera of DVR's `cameras.npz`: `(x, y, 1) ~ camera_mat world_mat scale_mat x_world`, (-1, -1) the upper
    left corner of the picture, z forward.

    Only the product counts, it is taken apart anew: for DTU, DVR's world_mat holds intrinsics too. Depths are in
    the units of x_world. Occupancy Networks keeps camera_mat in pixels of its 137 x 137 pictures: that is
    `from_opencv(camera_mat, world_mat[..., :3], world_mat[..., 3], (137, 137))`.

    Args:
        world_mat: `[*b, 4, 4]` or `[*b, 3, 4]`, world to camera.
        camera_mat: `[*b, 4, 4]` or `[*b, 3, 3]`, camera to [-1, 1] over the picture, x right, y down.
        scale_mat: x_world to the world of world_mat, a scale and a shift; None is the identity.
        near, far: of the new camera.

    Returns:
        The camera. Its rotation has determinant -1 where the product mirrors.

    Raises:
        ValueError: wrong shape, the product has skew.

    Source: Niemeyer et al., Differentiable Volumetric Rendering, CVPR 2020, and the FAQ of its code.
    """
    check_trailing(
        world_mat=(world_mat, (4, 4), (3, 4)), camera_mat=(camera_mat, (4, 4), (3, 3)),
        scale_mat=(np.eye(4) if scale_mat is None else scale_mat, (4, 4)),
    )  # fmt: skip
    matrix = product(camera_mat[..., :3, :3], world_mat[..., :3, :])
    if scale_mat is not None:
        matrix = product(matrix, scale_mat)
    return _from_y_down(*_take_apart(matrix), near, far)


def to_dvr(camera: PerspectiveCamera) -> tuple[Float[Array, "*b 4 4"], Float[Array, "*b 4 4"]]:
    """DVR's world_mat and camera_mat of a camera, scale_mat the identity; see `from_dvr`."""
    unit, rotation, translation = _to_y_down(camera)
    return affine(rotation, translation), affine(unit, jnp.zeros_like(translation))


def from_cmr(camera: Float[Array, "*b 7"], *, near: float = 0.1, far: float = 100.0) -> WeakPerspectiveCamera:
    """Camera of CMR and its kin: (s, tx, ty, q) with `x_image = s (q x_world q*)_xy + t` in [-1, 1], x right, y
    down, z forward.

    Args:
        camera: s, tx, ty, then the quaternion, w first.
        near, far: of the new camera.

    Returns:
        The camera; pictures are square. Depths keep CMR's order, but are in world units.

    Raises:
        ValueError: wrong shape.

    Source: Kanazawa et al., Learning Category-Specific Mesh Reconstruction, ECCV 2018, and its code.
    """
    check_trailing(camera=(camera, (7,)))
    scale, shift_x, shift_y, w, x, y, z = columns(camera)
    # Half a turn about x after q: the product of the quaternions i and q.
    quaternion = jnp.stack([-x, w, -z, y], axis=-1)
    return WeakPerspectiveCamera(scale, jnp.stack([shift_x, -shift_y], axis=-1), quaternion, near=near, far=far)


def to_cmr(camera: WeakPerspectiveCamera) -> Float[Array, "*b 7"]:
    """CMR's seven numbers of a camera; see `from_cmr`."""
    shift_x, shift_y = columns(camera.translation)
    w, x, y, z = columns(camera.quaternion)
    return jnp.stack([jnp.asarray(camera.scale), shift_x, -shift_y, x, -w, z, -y], axis=-1)


def _perspective(
    rotation: Array, translation: Array, focal: Array, principal: Array, near: float, far: float
) -> PerspectiveCamera:
    lead = jnp.broadcast_shapes(rotation.shape[:-2], *(array.shape[:-1] for array in (translation, focal, principal)))
    vectors = [jnp.broadcast_to(array, (*lead, array.shape[-1])) for array in (translation, focal, principal)]
    return PerspectiveCamera(jnp.broadcast_to(rotation, (*lead, 3, 3)), *vectors, near, far)


def _from_y_down(unit: jax.Array, rotation: Array, translation: Array, near: float, far: float) -> PerspectiveCamera:
    """Camera of intrinsics that map to [-1, 1] over the picture, y down."""
    _check_rotation("rotation", rotation)
    _check_equal("the skew of the intrinsics", unit[..., 0, 1], 0.0)
    _check_equal("the last row of the intrinsics", unit[..., 2, :], (0.0, 0.0, 1.0))
    focal = jnp.stack([unit[..., 0, 0], unit[..., 1, 1]], axis=-1)
    principal = jnp.stack([unit[..., 0, 2], -unit[..., 1, 2]], axis=-1)
    return _perspective(*_flip(_FROM_OPENCV, rotation, translation), focal, principal, near, far)


def _to_y_down(camera: PerspectiveCamera) -> tuple[jax.Array, jax.Array, jax.Array]:
    (focal_x, focal_y), (x, y) = columns(camera.focal), columns(camera.principal)
    zero, one = jnp.zeros_like(focal_x), jnp.ones_like(focal_x)
    unit = stack_matrix([[focal_x, zero, x], [zero, focal_y, -y], [zero, zero, one]])
    return unit, *_flip(_FROM_OPENCV, camera.rotation, camera.translation)


def _take_apart(projection: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Intrinsics with a positive diagonal, rotation and translation of a projection `[*b, 3, 4]`."""
    # The rows of the rotation are those of the projection, made orthogonal from the last one upwards.
    projection, rows = projection / jnp.linalg.norm(projection[..., 2:, :3], axis=-1, keepdims=True), []
    for i in (2, 1, 0):
        row = projection[..., i, :3]
        for other in rows:
            row = row - jnp.sum(row * other, axis=-1, keepdims=True) * other
        rows.append(row / jnp.linalg.norm(row, axis=-1, keepdims=True))
    rotation = jnp.stack(rows[::-1], axis=-2)
    unit = product(projection[..., :3], rotation.mT)
    return unit, rotation, jnp.linalg.solve(unit, projection[..., 3:])[..., 0]


def _flip(signs: tuple[float, ...], rotation: Array, translation: Array) -> tuple[jax.Array, jax.Array]:
    """Rotation and translation to a view whose axes have other signs."""
    return scale_columns(jnp.asarray(rotation).mT, signs).mT, scale_columns(translation, signs)


def _shorter_side(image_size: tuple[int, int]) -> tuple[float, float]:
    """Shorter side of a picture over its width and its height."""
    height, width = image_size
    return min(height, width) / width, min(height, width) / height


def _check_equal(name: str, value: Array, expected: Array | tuple[float, ...] | float) -> None:
    known = is_concrete(value) and is_concrete(expected)
    if known and not np.all(np.abs(np.asarray(value) - np.asarray(expected)) <= _ROUNDING):
        raise ValueError(f"{name} must be {expected}, got {value}")


def _check_rotation(name: str, rotation: Array) -> None:
    _check_equal(
        f"{name} @ {name}.T (put scales into the vertices)", product(rotation, jnp.asarray(rotation).mT), np.eye(3)
    )
