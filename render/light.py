"""Lights: what a surface of a given colour and normal sends to the viewer.

Lights shine on the side that the normal points to; they know neither shadows nor which side the viewer sees. For
surfaces that are seen from both sides, turn the normals to the viewer before.
"""

import dataclasses
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from render.arrays import Array, check_faces, check_floats, floats_of, positive_part, to_float
from render.camera import Camera
from render.mesh import Mesh, safe_unit, vertex_normals
from render.pytree import pytree
from render.texture import (
    CornerColours,
    FaceTexels,
    Texture,
    VertexColours,
    check_texture,
    face_coefficients,
    texture_points,
)

# Factors of the real spherical harmonics: sqrt(1 / 4 pi), sqrt(3 / 4 pi), sqrt(15 / 4 pi), sqrt(5 / 16 pi).
_Y0, _Y1, _Y2, _Y20 = (float(np.sqrt(number / (16 * np.pi))) for number in (4, 12, 60, 5))


@pytree
@dataclasses.dataclass(frozen=True)
class DirectionalLight:
    """A distant light on a matt surface (Lambert): `albedo (ambient + colour max(0, n . l))`.

    Args:
        direction: `[b, 3]` towards the light, in the space of the normals, any length > 0.
        colour: `[b, 3]` of the light; albedo 1 facing it reflects as much.
        ambient: `[b, 3]` light that comes from everywhere.
    """

    direction: Float[Array, "b 3"]
    colour: Float[Array, "b 3"]
    ambient: Float[Array, "b 3"]


@pytree
@dataclasses.dataclass(frozen=True)
class PhongLight:
    """A distant light on a glossy surface: Lambert's plus `specular max(0, r . v)^shininess` where n . l > 0.

    `r = 2 (n . l) n - l` is the mirrored light and v points to the viewer. This is Phong's highlight, as in
    PyTorch3D, not Blinn's; the colour of the surface does not tint it.

    Args:
        direction: `[b, 3]` towards the light, in the space of the normals, any length > 0.
        colour: `[b, 3]` of the light.
        ambient: `[b, 3]` light that comes from everywhere.
        specular: `[b, 3]` colour of the highlight.
        shininess: `[b]`, >= 1; larger is narrower.

    Source: Phong, Illumination for Computer Generated Pictures, CACM 1975.
    """

    direction: Float[Array, "b 3"]
    colour: Float[Array, "b 3"]
    ambient: Float[Array, "b 3"]
    specular: Float[Array, "b 3"]
    shininess: Float[Array, " b"]


@pytree
@dataclasses.dataclass(frozen=True)
class SphericalHarmonicsLight:
    """Light from all around by nine numbers a channel: `albedo sum_k coefficient_k Y_k(n)`.

    Y are the real orthonormal spherical harmonics of the unit normal in the order (degree, order) 00, 1-1, 10,
    11, 2-2, 2-1, 20, 21, 22, that is multiples of 1, y, z, x, xy, yz, 3z^2 - 1, xz, x^2 - y^2 with positive
    factors. The coefficients are of the shading itself, as Kaolin and Unicorn learn them (Kaolin in another
    order); `lambert_coefficients` makes them from a light's radiance. Nothing is clipped: the shading may be
    negative.

    Args:
        coefficients: `[b, 9, 3]`; sqrt(4 pi) in the first is white ambient light.
    """

    coefficients: Float[Array, "b 9 3"]


Light: TypeAlias = DirectionalLight | PhongLight | SphericalHarmonicsLight


def shade(
    light: Light | None,
    colour: Float[Array, "b *points 3"],
    normal: Float[Array, "b *points 3"],
    to_viewer: Float[Array, "b *points 3"] | None = None,
) -> Float[Array, "b *points 3"]:
    """Colour of surface points under a light; differentiable in everything.

    Args:
        light: None leaves the colour as it is.
        colour: of the surface (albedo).
        normal: any length; zero normals get what comes without one, and finite gradients.
        to_viewer: from the point to the eye, any length, in the space of the normals; for `PhongLight`.

    Returns:
        Reflected light, not clipped.

    Raises:
        ValueError: shapes that do not match, or a `PhongLight` without to_viewer.
    """
    if light is None:
        return jnp.asarray(colour)
    given = [to_float("colour", colour), to_float("normal", normal)]
    if to_viewer is not None:
        given.append(to_float("to_viewer", to_viewer))
    _check(light, *given)
    return _shade(floats_of(light), *given)


@jax.checkpoint
def _shade(light: Light, colour: jax.Array, normal: jax.Array, to_viewer: jax.Array | None = None) -> jax.Array:
    """The work of `shade`; the backward pass computes it anew."""
    normal = safe_unit(normal)
    if isinstance(light, SphericalHarmonicsLight):
        basis = _harmonics(normal)
        return colour * sum(basis[k][..., None] * _spread(light.coefficients[:, k], normal) for k in range(9))
    towards = safe_unit(_spread(light.direction, normal))
    cosine = jnp.sum(normal * towards, axis=-1, keepdims=True)
    shaded = colour * (_spread(light.ambient, normal) + _spread(light.colour, normal) * positive_part(cosine))
    if isinstance(light, DirectionalLight):
        return shaded
    mirrored = 2.0 * cosine * normal - towards
    alignment = jnp.sum(mirrored * safe_unit(to_viewer), axis=-1, keepdims=True)
    seen = (cosine > 0) & (alignment > 0)
    highlight = jnp.where(seen, alignment, 1.0) ** _spread(light.shininess[:, None], normal)
    return shaded + jnp.where(seen, _spread(light.specular, normal) * highlight, 0.0)


def shade_texture(
    light: Light | None,
    texture: Texture,
    faces: Array,
    corner_normals: Float[Array, "b f 3 3"],
    corner_to_viewer: Float[Array, "b f 3 3"] | None = None,
) -> Texture:
    """The texture with the light in it, for blending that needs basis functions (Gouraud shading, by texel).

    The light is evaluated where the coefficients are (`texture_points`), at interpolated normals.

    Args:
        light: None leaves the texture as it is.
        texture: colours; a `UVImage` must be baked before (`bake_texels`).
        faces: `[f, 3]` or `[b, f, 3]`.
        corner_normals: face, corner, xyz.
        corner_to_viewer: from the corners to the eye; for `PhongLight`.

    Returns:
        A texture of the same coefficients; vertex colours become corner colours.

    Raises:
        ValueError: shapes that do not match, a UV image, or a `PhongLight` without corner_to_viewer.
    """
    if light is None:
        return texture
    points, shape = texture_points(texture), corner_normals.shape
    check_faces(faces, texture.values.shape[1] if isinstance(texture, VertexColours) else None, shape[0])
    if shape != (shape[0], faces.shape[-2], 3, 3):
        raise ValueError(f"corner_normals must have shape [b, {faces.shape[-2]}, 3, 3], got {shape}")
    check_texture(texture, shape[0], None, shape[1])

    def at_points(corners: Array) -> jax.Array:
        corners = to_float("corner_normals", corners)
        weights = jnp.asarray(points, corners.dtype)
        return jnp.einsum("kc,bfcx->bfkx", weights, corners, precision=jax.lax.Precision.HIGHEST)

    normals = at_points(corner_normals)
    to_viewer = None if corner_to_viewer is None else at_points(corner_to_viewer)
    colours = face_coefficients(texture, faces).reshape(corner_normals.shape[0], -1, len(points), 3)
    shaded = shade(light, colours, normals, to_viewer)
    if isinstance(texture, FaceTexels):
        return FaceTexels(shaded.reshape(texture.values.shape))
    return CornerColours(shaded)


def lambert_coefficients(radiance: Float[Array, "b 9 3"]) -> Float[Array, "b 9 3"]:
    """Coefficients of `SphericalHarmonicsLight` on a matt surface under light of given radiance.

    Args:
        radiance: spherical harmonics coefficients of the incoming light, order as there.

    Returns:
        Coefficients of `1 / pi int radiance(w) max(0, n . w) dw`: factors 1, 2/3, 1/4 by degree.

    Raises:
        ValueError: wrong shape or type.

    Source: Ramamoorthi and Hanrahan, An Efficient Representation for Irradiance Environment Maps, SIGGRAPH 2001.
    """
    radiance = to_float("radiance", radiance)
    if radiance.ndim != 3 or radiance.shape[1:] != (9, 3):
        raise ValueError(f"radiance must have shape [b, 9, 3], got {radiance.shape}")
    factors = jnp.array([1.0, *[2.0 / 3.0] * 3, *[0.25] * 5], radiance.dtype)
    return radiance * factors[None, :, None]


def _harmonics(unit: jax.Array) -> tuple[jax.Array, ...]:
    x, y, z = (unit[..., axis] for axis in range(3))
    return (
        jnp.full_like(x, _Y0),
        _Y1 * y,
        _Y1 * z,
        _Y1 * x,
        _Y2 * x * y,
        _Y2 * y * z,
        _Y20 * (3.0 * z * z - 1.0),
        _Y2 * x * z,
        0.5 * _Y2 * (x * x - y * y),
    )


def _spread(values: Array, like: jax.Array) -> jax.Array:
    """Values `[b, c]` of images with axes for the points of each."""
    values = jnp.asarray(values)
    return values.reshape(values.shape[0], *(1,) * (like.ndim - 2), values.shape[-1])


def _check(light: Light, colour: jax.Array, normal: jax.Array, to_viewer: jax.Array | None = None) -> None:
    if colour.ndim < 2 or colour.shape[-1] != 3:
        raise ValueError(f"colour must have shape [b, ..., 3], got {colour.shape}")
    check_light(light, colour.shape[0])
    if isinstance(light, PhongLight) and to_viewer is None:
        raise ValueError("PhongLight needs to_viewer, the vectors from the points to the eye; or use DirectionalLight")
    for name, values in {"normal": normal, "to_viewer": to_viewer}.items():
        if values is not None and values.shape != colour.shape:
            raise ValueError(f"{name} must have shape [b, ..., 3] like colour {colour.shape}, got {values.shape}")


def check_light(light: Light | None, batch: int) -> None:
    """Raises a ValueError when a light is not one for each image of a batch."""
    if light is None:
        return
    if not isinstance(light, DirectionalLight | PhongLight | SphericalHarmonicsLight):
        names = "DirectionalLight, PhongLight, SphericalHarmonicsLight or None"
        raise ValueError(f"light must be {names}, got {type(light).__name__}")
    shapes = {"coefficients": (batch, 9, 3), "shininess": (batch,)}
    for field in dataclasses.fields(light):
        values, expected = getattr(light, field.name), shapes.get(field.name, (batch, 3))
        check_floats(f"light {field.name}", values)
        if values.shape != expected:
            raise ValueError(f"light {field.name} of this batch must have shape {expected}, got {values.shape}")


def clay(mesh: Mesh, camera: Camera) -> VertexColours:
    """Grey for a mesh without colours, lit from the camera: `0.25 + 0.6 |n . d|`, d towards it, chosen by eye.

    Surfaces that are folded over are lit from inside, too.

    Args:
        mesh: batch of meshes.
        camera: leading axis b.

    Returns:
        The colours, to be drawn without a light.
    """
    normals, towards = vertex_normals(mesh.vertices, mesh.faces), camera.to_viewer(mesh.vertices)
    light = 0.25 + 0.6 * jnp.abs(jnp.sum(normals * towards, axis=-1, keepdims=True))
    return VertexColours(jnp.broadcast_to(light, mesh.vertices.shape))
