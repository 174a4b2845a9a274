"""Cameras: world points to view space, to clip space, to depth.

View space has x right and y up; the camera looks down -z. Depth is the distance along the viewing axis, > 0
in front. Clip space is OpenGL's: NDC = clip / w, x right and y up in [-1, 1], z/w in [-1, 1] from near to
far.
"""

import abc
import dataclasses
from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from render.arrays import Array, check_floats, check_trailing, to_float
from render.pytree import pytree

# Where the cameras of the NMR renderings of ShapeNet stand (Kato et al., CVPR 2018), and those of AST: world units from
# the origin.
NMR_DISTANCE = 2.732
# World coordinates are cut off here: products with those of a camera stay finite, and so do zeros times them, which are
# its gradients. Nothing this far away is drawn, see `render.screen`.
_FARTHEST = 1e36


def _rotate(rotation: Array, points: Array) -> jax.Array:
    # Full precision: accelerators would round a default matrix product to bfloat16, which moves vertices by
    # pixels.
    _check_last("points_world", points, 3)
    rotation, points = to_float("rotation", rotation), _bounded(points)
    return jnp.einsum("...ij,...vj->...vi", rotation, points, precision=jax.lax.Precision.HIGHEST)


def _bounded(points: Array) -> jax.Array:
    points = to_float("points_world", points)
    return jnp.where(jnp.abs(points) > _FARTHEST, jnp.sign(points) * _FARTHEST, points)


def _check_last(name: str, array: Array, size: int) -> None:
    if np.ndim(array) < 1 or array.shape[-1] != size:
        raise ValueError(f"{name} must have shape [..., {size}], got {np.shape(array)}")


class Camera(abc.ABC):
    """What every camera gives; nothing else has to know a new one.

    A camera is a frozen dataclass, registered by `render.pytree.pytree`, with the fields `rotation` and `translation`
    from world to view, if `ast_jax` shall train with it, and static ones `near` and `far`.

    Attributes:
        SHAPES: name of each array among the fields -> its shape behind the leading axes.
    """

    SHAPES: ClassVar[dict[str, tuple[int, ...]]]
    if TYPE_CHECKING:  # Otherwise dataclasses would take these properties as the defaults of their fields.

        @property
        def rotation(self) -> Array: ...
        @property
        def translation(self) -> Array: ...
        @property
        def near(self) -> float: ...
        @property
        def far(self) -> float: ...

    @abc.abstractmethod
    def view(self, points_world: Float[Array, "*b v 3"]) -> Float[Array, "*b v 3"]:
        """World points in view space."""

    @abc.abstractmethod
    def project(self, points_world: Float[Array, "*b v 3"]) -> Float[Array, "*b v 4"]:
        """World points in clip space."""

    @abc.abstractmethod
    def to_viewer(self, points_world: Float[Array, "*b v 3"]) -> Float[Array, "*b v 3"]:
        """Unit directions from world points towards the eye."""

    def depth(self, points_world: Float[Array, "*b v 3"]) -> Float[Array, "*b v"]:
        """Distance of world points along the viewing axis, > 0 in front."""
        return -self.view(points_world)[..., 2]

    def eye_vectors(self, points_world: Float[Array, "*b v 3"]) -> Float[Array, "*b v 3"]:
        """What is interpolated over a face to find the direction to the eye: `to_viewer`, as for parallel rays, unless
        a camera has a centre."""
        return self.to_viewer(points_world)


@pytree
@dataclasses.dataclass(frozen=True)
class PerspectiveCamera(Camera):
    """Pinhole camera: `x_view = R x_world + t`, `x_ndc = focal_x x_view / depth + principal_x`, y alike.

    Leading axes are free (`[b]`, `[b, s]`, ...), and a `jax.tree.map` over the camera may reshape them.

    Args:
        rotation: `[*b, 3, 3]` world to view.
        translation: `[*b, 3]` world units.
        focal: `[*b, 2]` in NDC units: 1 / tan(half the field of view) of each axis.
        principal: `[*b, 2]` NDC of the optical axis; 0 is the centre.
        near: depth that clip space maps to z/w = -1. Nothing is clipped there.
        far: depth that clip space maps to z/w = 1.
    """

    SHAPES: ClassVar = {"rotation": (3, 3), "translation": (3,), "focal": (2,), "principal": (2,)}
    rotation: Float[Array, "*b 3 3"]
    translation: Float[Array, "*b 3"]
    focal: Float[Array, "*b 2"]
    principal: Float[Array, "*b 2"]
    # SoftRas's and PyTorch3D's far plane; the near plane is NMR's.
    near: float = dataclasses.field(default=0.1, metadata={"static": True})
    far: float = dataclasses.field(default=100.0, metadata={"static": True})

    def view(self, points_world: Float[Array, "*b v 3"]) -> Float[Array, "*b v 3"]:
        """World points in view space."""
        return _rotate(self.rotation, points_world) + jnp.expand_dims(self.translation, -2)

    def project(self, points_world: Float[Array, "*b v 3"]) -> Float[Array, "*b v 4"]:
        """World points in clip space; w is the depth."""
        view = self.view(points_world)
        depth = -view[..., 2:]
        xy = view[..., :2] * jnp.expand_dims(self.focal, -2) + depth * jnp.expand_dims(self.principal, -2)
        scale = (self.far + self.near) / (self.far - self.near)
        offset = 2.0 * self.far * self.near / (self.far - self.near)
        return jnp.concatenate([xy, scale * depth - offset, depth], axis=-1)

    @property
    def position_world(self) -> Float[Array, "*b 3"]:
        """The centre of the camera in world space, `-R^T t`."""
        return -_rotate(jnp.swapaxes(self.rotation, -1, -2), self.translation[..., None, :])[..., 0, :]

    def eye_vectors(self, points_world: Float[Array, "*b v 3"]) -> Float[Array, "*b v 3"]:
        """Vectors from world points to the centre of the camera. Unlike directions they are linear in the points, so
        that they may be interpolated over a face."""
        return jnp.expand_dims(self.position_world, -2) - _bounded(points_world)

    def to_viewer(self, points_world: Float[Array, "*b v 3"]) -> Float[Array, "*b v 3"]:
        """Unit directions from world points to the centre of the camera; zero, with finite gradients, in the
        centre itself."""
        return _normalise(self.eye_vectors(points_world))


@pytree
@dataclasses.dataclass(frozen=True)
class OrthographicCamera(Camera):
    """Camera with parallel rays: `x_view = R x_world + t`, `x_ndc = scale_x x_view + principal_x`, y alike, w
    = 1.

    Args:
        rotation: `[*b, 3, 3]` world to view.
        translation: `[*b, 3]` world units; its z has to keep objects in front and moves no pixel.
        scale: `[*b, 2]` NDC units per world unit. Pixels are square where scale_x / scale_y = height / width.
        principal: `[*b, 2]` NDC of the view's z axis; 0 is the centre.
        near: depth that clip space maps to z = -1. Nothing is clipped there.
        far: depth that clip space maps to z = 1.
    """

    SHAPES: ClassVar = {"rotation": (3, 3), "translation": (3,), "scale": (2,), "principal": (2,)}
    rotation: Float[Array, "*b 3 3"]
    translation: Float[Array, "*b 3"]
    scale: Float[Array, "*b 2"]
    principal: Float[Array, "*b 2"]
    near: float = dataclasses.field(default=0.1, metadata={"static": True})
    far: float = dataclasses.field(default=100.0, metadata={"static": True})

    def view(self, points_world: Float[Array, "*b v 3"]) -> Float[Array, "*b v 3"]:
        """World points in view space."""
        return _rotate(self.rotation, points_world) + jnp.expand_dims(self.translation, -2)

    def project(self, points_world: Float[Array, "*b v 3"]) -> Float[Array, "*b v 4"]:
        """World points in clip space with w = 1; z maps depth near..far linearly to -1..1."""
        view = self.view(points_world)
        xy = view[..., :2] * jnp.expand_dims(self.scale, -2) + jnp.expand_dims(self.principal, -2)
        z = (-2.0 * view[..., 2:] - (self.far + self.near)) / (self.far - self.near)
        return jnp.concatenate([xy, z, jnp.ones_like(z)], axis=-1)

    def to_viewer(self, points_world: Float[Array, "*b v 3"]) -> Float[Array, "*b v 3"]:
        """The unit direction against the rays, the same for all points."""
        return jnp.broadcast_to(to_float("camera.rotation", self.rotation)[..., 2:, :], points_world.shape)


@pytree
@dataclasses.dataclass(frozen=True)
class WeakPerspectiveCamera(Camera):
    """Scaled orthographic camera of CMR: `x_view = R(q) x_world - (0, 0, distance)`, `xy_ndc = scale xy_view +
    translation`, w = 1.

    Args:
        scale: `[*b]` NDC units per world unit.
        translation: `[*b, 2]` NDC.
        quaternion: `[*b, 4]`, w first; normalised here.
        distance: depth of the world origin. It moves no pixel and only has to keep objects in front.
        near: depth that clip space maps to z = -1. Nothing is clipped there.
        far: depth that clip space maps to z = 1.

    Source: Kanazawa et al., Learning Category-Specific Mesh Reconstruction from Image Collections, ECCV 2018.
    """

    SHAPES: ClassVar = {"scale": (), "translation": (2,), "quaternion": (4,)}
    scale: Float[Array, "*b"]
    translation: Float[Array, "*b 2"]
    quaternion: Float[Array, "*b 4"]
    # CMR's `offset_z`.
    distance: float = dataclasses.field(default=5.0, metadata={"static": True})
    near: float = dataclasses.field(default=0.1, metadata={"static": True})
    far: float = dataclasses.field(default=100.0, metadata={"static": True})

    def orthographic(self) -> OrthographicCamera:
        """The same camera with a rotation matrix."""
        scale = to_float("camera.scale", self.scale)
        zero = jnp.zeros_like(scale)
        return OrthographicCamera(
            rotation=quaternion_to_rotation(self.quaternion),
            translation=jnp.stack([zero, zero, zero - self.distance], axis=-1),
            scale=jnp.stack([scale, scale], axis=-1),
            principal=to_float("camera.translation", self.translation),
            near=self.near,
            far=self.far,
        )

    def view(self, points_world: Float[Array, "*b v 3"]) -> Float[Array, "*b v 3"]:
        """World points in view space, in world units."""
        return self.orthographic().view(points_world)

    def project(self, points_world: Float[Array, "*b v 3"]) -> Float[Array, "*b v 4"]:
        """World points in clip space with w = 1; z maps depth near..far linearly to -1..1."""
        return self.orthographic().project(points_world)

    def to_viewer(self, points_world: Float[Array, "*b v 3"]) -> Float[Array, "*b v 3"]:
        """The unit direction against the rays, the same for all points."""
        return self.orthographic().to_viewer(points_world)


def check_camera(camera: Camera, batch: int) -> None:
    """Raises a ValueError when the fields of a camera are not one camera for each image of a batch."""
    if not isinstance(camera, Camera):
        raise ValueError(f"camera must be a render.Camera, such as PerspectiveCamera; got {type(camera).__name__}")
    for name, shape in camera.SHAPES.items():
        value = getattr(camera, name)
        check_floats(f"camera.{name}", value)
        if value.shape != (batch, *shape):
            raise ValueError(f"camera.{name} of {batch} meshes must have shape {(batch, *shape)}, got {value.shape}")
    if not camera.near < camera.far < float("inf"):
        raise ValueError(f"camera.near must be < camera.far, both finite, got {camera.near} and {camera.far}")


def quaternion_to_rotation(quaternion: Float[Array, "*b 4"]) -> Float[Array, "*b 3 3"]:
    """Rotation matrix (for column vectors) of a quaternion.

    Args:
        quaternion: w, x, y, z; any length > 0 (a zero quaternion gives the identity).

    Returns:
        Rotation matrices.

    Raises:
        ValueError: wrong shape or type.
    """
    _check_last("quaternion", quaternion, 4)
    unit = _normalise(to_float("quaternion", quaternion))
    w, x, y, z = (unit[..., i] for i in range(4))
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def rotation_from_6d(values: Float[Array, "*b 6"]) -> Float[Array, "*b 3 3"]:
    """Rotation whose first two rows are two vectors, made orthonormal; the third is their cross product.

    Args:
        values: the two vectors, neither zero nor parallel.

    Returns:
        Rotation matrices.

    Source: Zhou et al. 2019, "On the continuity of rotation representations", equation 15.
    """
    first, second = values[..., :3], values[..., 3:]
    first = first / jnp.linalg.norm(first, axis=-1, keepdims=True)
    second = second - (first * second).sum(-1, keepdims=True) * first
    second = second / jnp.linalg.norm(second, axis=-1, keepdims=True)
    return jnp.stack([first, second, jnp.cross(first, second)], axis=-2)


def look_at(
    eye: Float[Array, "*b 3"], target: Float[Array, "*b 3"], up: Float[Array, "*b 3"]
) -> tuple[Float[Array, "*b 3 3"], Float[Array, "*b 3"]]:
    """World-to-view transform of a camera at `eye` that looks at `target`.

    Args:
        eye: world position of the camera.
        target: world point in the middle of the image.
        up: world direction that points up in the image. Where it is parallel to the line of sight, +Z
            stands in, and +X where that is parallel too.

    Returns:
        Rotation and translation with `x_view = R x_world + t`.

    Raises:
        ValueError: wrong shape or type.
    """
    for name, vector in {"eye": eye, "target": target, "up": up}.items():
        if np.shape(vector) != np.shape(eye) or np.shape(vector)[-1:] != (3,):
            raise ValueError(f"{name} must have shape [..., 3] like eye {np.shape(eye)}, got {np.shape(vector)}")
    eye, target, up = to_float("eye", eye), to_float("target", target), to_float("up", up)
    back = _normalise(eye - target)
    unit_up = _normalise(up)
    for axis in (2, 0):
        spare = jnp.broadcast_to(jnp.eye(3, dtype=back.dtype)[axis], back.shape)
        right = jnp.cross(unit_up, back)
        # 1e-6: sine of the angle below which float32 no longer knows which way is up.
        parallel = jnp.sum(right * right, axis=-1, keepdims=True) < 1e-12
        unit_up = jnp.where(parallel, spare, unit_up)
    right = _normalise(jnp.cross(unit_up, back))
    rotation = jnp.stack([right, jnp.cross(back, right), back], axis=-2)
    return rotation, -_rotate(rotation, eye[..., None, :])[..., 0, :]


def orbit(
    distance: Float[Array, "*b"] | float,
    elevation_rad: Float[Array, "*b"] | float,
    azimuth_rad: Float[Array, "*b"] | float,
    fov_y_rad: Float[Array, "*b"] | float,
    *,
    aspect: float = 1.0,
    near: float = 0.1,
    far: float = 100.0,
) -> PerspectiveCamera:
    """Camera on a sphere about the origin, looking at it, +Y up.

    `eye = distance (cos el sin az, sin el, cos el cos az)`: azimuth 0 is on +Z and grows towards +X.

    Args:
        distance: world units from the origin.
        elevation_rad: angle above the xz plane; the poles are no exception.
        azimuth_rad: angle about +Y.
        fov_y_rad: vertical field of view.
        aspect: image width / height.
        near: see `PerspectiveCamera`.
        far: see `PerspectiveCamera`.

    Returns:
        A camera whose leading axes are those of the arguments.

    Raises:
        ValueError: shapes that do not broadcast.
    """
    check_trailing(
        distance=(distance, ()), elevation_rad=(elevation_rad, ()), azimuth_rad=(azimuth_rad, ()),
        fov_y_rad=(fov_y_rad, ()),
    )  # fmt: skip
    angles = [jnp.asarray(value, dtype=float) for value in (distance, elevation_rad, azimuth_rad, fov_y_rad)]
    shape = jnp.broadcast_shapes(*(value.shape for value in angles))
    distance, elevation, azimuth, fov_y = (jnp.broadcast_to(value, shape) for value in angles)
    sin_e, cos_e, sin_a, cos_a = jnp.sin(elevation), jnp.cos(elevation), jnp.sin(azimuth), jnp.cos(azimuth)
    zero = jnp.zeros_like(distance)
    right = jnp.stack([cos_a, zero, -sin_a], axis=-1)
    up = jnp.stack([-sin_e * sin_a, cos_e, -sin_e * cos_a], axis=-1)
    back = jnp.stack([cos_e * sin_a, sin_e, cos_e * cos_a], axis=-1)
    focal_y = 1.0 / jnp.tan(0.5 * fov_y)
    return PerspectiveCamera(
        rotation=jnp.stack([right, up, back], axis=-2),
        translation=jnp.stack([zero, zero, -distance], axis=-1),
        focal=jnp.stack([focal_y / aspect, focal_y], axis=-1),
        principal=jnp.zeros((*shape, 2), focal_y.dtype),
        near=near,
        far=far,
    )


def _normalise(vector: Array) -> jax.Array:
    # Scaled by the largest component first: squares of tiny vectors would underflow. The direction does not
    # depend on that scale, so neither does its gradient.
    vector = jnp.asarray(vector)
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(vector), axis=-1, keepdims=True))
    exists = largest > jnp.finfo(vector.dtype).tiny
    scaled = vector / jnp.where(exists, largest, 1.0)
    squared = jnp.sum(scaled * scaled, axis=-1, keepdims=True)
    return jnp.where(exists, scaled * jax.lax.rsqrt(jnp.where(exists, squared, 1.0)), 0.0)
