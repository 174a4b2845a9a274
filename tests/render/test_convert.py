"""Converters against the other projects' formulas, written out in float64, and against numbers of theirs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.spatial.transform import Rotation

import render
from render import OrthographicCamera, PerspectiveCamera, WeakPerspectiveCamera, look_at, orbit

N = 4
SIZE = (48, 80)
SQUARE = (64, 64)
IDENTITY = np.eye(4)
TURN_ABOUT_X = np.diag([1.0, -1.0, -1.0])


def pixels_of_ndc(x, y, size):
    """Columns from the left, rows from the top, of coordinates with y up that span the picture."""
    return np.stack([(x + 1) / 2 * size[1], (1 - y) / 2 * size[0]], axis=-1)


def pixels_here(camera, points, size):
    clip = np.asarray(camera.project(jnp.asarray(points)))
    return pixels_of_ndc(clip[..., 0] / clip[..., 3], clip[..., 1] / clip[..., 3], size)


def rotations(rng):
    return Rotation.from_quat(rng.normal(size=(N, 4))).as_matrix()


def homogeneous(points):
    return np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)


def affine(rotation, translation):
    bottom = np.broadcast_to([[0.0, 0, 0, 1]], (len(rotation), 1, 4))
    return np.concatenate([np.concatenate([rotation, translation[..., None]], -1), bottom], axis=1)


# Every project: random cameras in its own terms, and the pixels that its own formula gives for world points.


def opengl_cameras(rng):
    projection = np.zeros((N, 4, 4))
    projection[:, 0, 0], projection[:, 1, 1] = rng.uniform(1, 3, (2, N))
    projection[:, :2, 2] = rng.uniform(-0.3, 0.3, (N, 2))
    near, far = 0.1, 100.0
    projection[:, 2, 2:] = (near + far) / (near - far), 2 * near * far / (near - far)
    projection[:, 3, 2] = -1
    return affine(rotations(rng), np.array([0.1, -0.2, -4]) + 0 * rng.normal(size=(N, 3))), projection


def opengl_pixels(points, view, projection):
    clip = np.einsum("bij,bjk,bvk->bvi", projection, view, homogeneous(points))
    return pixels_of_ndc(clip[..., 0] / clip[..., 3], clip[..., 1] / clip[..., 3], SIZE)


def opencv_cameras(rng):
    intrinsics = np.broadcast_to(np.eye(3), (N, 3, 3)).copy()
    intrinsics[:, 0, 0], intrinsics[:, 1, 1] = rng.uniform(50, 120, (2, N))
    intrinsics[:, 0, 2], intrinsics[:, 1, 2] = rng.uniform(30, 50, N), rng.uniform(15, 35, N)
    return intrinsics, rotations(rng), np.array([0, 0, 4.0]) + rng.normal(size=(N, 3)) * 0.2


def opencv_pixels(points, intrinsics, rotation, translation):
    camera = np.einsum("bij,bvj->bvi", rotation, points) + translation[:, None]
    image = np.einsum("bij,bvj->bvi", intrinsics, camera)
    return image[..., :2] / image[..., 2:]


def pytorch3d_cameras(rng):
    translation = np.array([0, 0, 4.0]) + rng.normal(size=(N, 3)) * 0.2
    return rotations(rng), translation, rng.uniform(1, 3, (N, 2)), rng.uniform(-0.3, 0.3, (N, 2))


def pytorch3d_pixels(points, rotation, translation, focal_length, principal_point):
    camera = points @ rotation + translation[:, None]
    ndc = focal_length[:, None] * camera[..., :2] / camera[..., 2:] + principal_point[:, None]
    height, width = SIZE
    half = min(SIZE) / 2
    return np.stack([width / 2 - half * ndc[..., 0], height / 2 - half * ndc[..., 1]], axis=-1)


def softras_cameras(rng):
    return rng.uniform(2, 4, N), rng.uniform(-80, 80, N), rng.uniform(-170, 170, N), rng.uniform(15, 40, N)


def softras_pixels(points, distance, elevation_deg, azimuth_deg, viewing_angle_deg):
    elevation, azimuth = np.radians(elevation_deg), np.radians(azimuth_deg)
    eye = distance * np.stack(
        [np.cos(elevation) * np.sin(azimuth), np.sin(elevation), -np.cos(elevation) * np.cos(azimuth)]
    )
    z = -eye.T / distance[:, None]
    x = np.cross([0.0, 1, 0], z)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    camera = np.einsum("bij,bvj->bvi", np.stack([x, np.cross(z, x), z], axis=1), points - eye.T[:, None])
    ndc = camera[..., :2] / camera[..., 2:] / np.tan(np.radians(viewing_angle_deg))[:, None, None]
    # Pixel i has its centre at (2 i + 1 - size) / size on both axes; the rows are reversed in the end.
    column, row_from_below = np.moveaxis((ndc * SQUARE[0] + SQUARE[0]) / 2, -1, 0)
    return np.stack([column, SQUARE[0] - row_from_below], axis=-1)


def kaolin_cameras(rng):
    rotation = rotations(rng)
    position = np.einsum("bji,bj->bi", rotation, np.array([0.1, 0.2, 4]) + rng.normal(size=(N, 3)) * 0.2)
    slope, aspect = np.tan(rng.uniform(0.2, 0.4, N)), rng.uniform(0.5, 2, N)
    return rotation, position, np.stack([1 / (aspect * slope), 1 / slope, -np.ones(N)], axis=1)[..., None]


def kaolin_pixels(points, rotation, position, projection):
    camera = (points - position[:, None]) @ np.swapaxes(rotation, 1, 2) * projection[..., 0][:, None]
    ndc = camera[..., :2] / camera[..., 2:]
    return pixels_of_ndc(ndc[..., 0], ndc[..., 1], SIZE)


def dvr_cameras(rng):
    camera = np.broadcast_to(np.eye(4), (N, 4, 4)).copy()
    camera[:, 0, 0], camera[:, 1, 1] = rng.uniform(1, 3, (2, N))
    camera[:, :2, 2] = rng.uniform(-0.3, 0.3, (N, 2))
    return affine(rotations(rng), np.array([0, 0, 4.0]) + rng.normal(size=(N, 3)) * 0.2), camera


def dvr_pixels(points, world_mat, camera_mat, scale_mat=IDENTITY):
    camera = homogeneous(points) @ np.swapaxes(camera_mat @ world_mat @ scale_mat, -1, -2)
    height, width = SIZE
    return (camera[..., :2] / camera[..., 2:3] + 1) / 2 * np.array([width, height])


def cmr_cameras(rng):
    cameras = np.concatenate([rng.uniform(0.5, 1, (N, 1)), rng.normal(size=(N, 6)) * 0.3], axis=1)
    cameras[:, 3:] /= np.linalg.norm(cameras[:, 3:], axis=1, keepdims=True)
    return (cameras,)


def cmr_pixels(points, cameras):
    turned = [Rotation.from_quat(np.roll(q, -1)).apply(rows) for q, rows in zip(cameras[:, 3:], points, strict=True)]
    image = cameras[:, None, :1] * np.stack(turned)[..., :2] + cameras[:, None, 1:3]
    return (image + 1) / 2 * np.array(SQUARE)


def with_size(convert):
    return lambda *arguments: convert(*arguments, SIZE)


PROJECTS = {
    "opengl": (render.from_opengl, render.to_opengl, opengl_cameras, opengl_pixels, SIZE),
    "opencv": (with_size(render.from_opencv), with_size(render.to_opencv), opencv_cameras, opencv_pixels, SIZE),
    "pytorch3d": (
        with_size(render.from_pytorch3d),
        with_size(render.to_pytorch3d),
        pytorch3d_cameras,
        pytorch3d_pixels,
        SIZE,
    ),
    "softras": (render.from_softras, render.to_softras, softras_cameras, softras_pixels, SQUARE),
    "kaolin": (render.from_kaolin, render.to_kaolin, kaolin_cameras, kaolin_pixels, SIZE),
    "dvr": (render.from_dvr, render.to_dvr, dvr_cameras, dvr_pixels, SIZE),
    "cmr": (render.from_cmr, lambda camera: (render.to_cmr(camera),), cmr_cameras, cmr_pixels, SQUARE),
}


@pytest.fixture(params=PROJECTS)
def project(request, float64):
    from_theirs, to_theirs, cameras, pixels, size = PROJECTS[request.param]
    rng = np.random.default_rng(sorted(PROJECTS).index(request.param))
    return from_theirs, to_theirs, cameras(rng), pixels, size, rng.uniform(-0.5, 0.5, (N, 6, 3))


def test_points_fall_on_the_pixels_of_the_other_project(project):
    from_theirs, to_theirs, theirs, pixels, size, points = project
    camera = from_theirs(*theirs)
    np.testing.assert_allclose(pixels_here(camera, points, size), pixels(points, *theirs), atol=1e-9)
    assert np.all(np.asarray(camera.depth(jnp.asarray(points))) > 0)
    back = to_theirs(camera)
    np.testing.assert_allclose(pixels(points, *map(np.asarray, back)), pixels(points, *theirs), atol=1e-9)


def test_there_and_back_again(project):
    from_theirs, to_theirs, theirs, *_ = project
    camera = from_theirs(*theirs)
    back = to_theirs(camera)
    for ours, original in zip(back, theirs, strict=True):
        np.testing.assert_allclose(ours, original, atol=1e-9)
    for again, first in zip(jax.tree.leaves(from_theirs(*back)), jax.tree.leaves(camera), strict=True):
        np.testing.assert_allclose(again, first, atol=1e-9)


def test_gradients_and_free_leading_axes(project):
    from_theirs, to_theirs, theirs, _, _, points = project

    def loss(*arguments):
        camera = from_theirs(*arguments)
        back = jax.tree.leaves(to_theirs(camera))
        return jnp.sum(jnp.sin(camera.project(points))) + sum(jnp.sum(jnp.sin(part)) for part in back)

    check_grads(jax.jit(loss), theirs, order=1, modes=["rev"], rtol=1e-4)
    nested = [value.reshape(2, 2, *value.shape[1:]) for value in theirs]
    single = [value[0] for value in theirs]
    leaves = (jax.tree.leaves(from_theirs(*arguments)) for arguments in (theirs, nested, single))
    for many, stacked, one in zip(*leaves, strict=True):
        np.testing.assert_array_equal(stacked.reshape(many.shape), many)
        np.testing.assert_allclose(one, many[0], atol=1e-12)


def test_opengl_matrix_of_tensorflow_graphics(float64):
    # tensorflow_graphics/rendering/camera/tests/perspective_test.py: 60 degrees, aspect 1.5, near 1, far 10.
    _, projection = render.to_opengl(orbit(2.0, 0.1, 0.2, np.pi / 3, aspect=1.5, near=1.0, far=10.0))
    expected = np.diag([1.15470052, 1.73205066, -1.22222221, 0])
    expected[2, 3], expected[3, 2] = -2.22222233, -1
    np.testing.assert_allclose(projection, expected, atol=2e-7)


@pytest.mark.parametrize("kind", ["orthographic", "weak"])
def test_opengl_matrices_do_what_cameras_without_perspective_do(float64, kind):
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, (N, 6, 3))
    translation = np.array([0, 0, -3.0]) + rng.normal(size=(N, 3)) * 0.1
    camera = OrthographicCamera(rotations(rng), translation, rng.uniform(1, 2, (N, 2)), rng.uniform(-1, 1, (N, 2)))
    if kind == "weak":
        camera = WeakPerspectiveCamera(np.ones(N), rng.uniform(-1, 1, (N, 2)), rng.normal(size=(N, 4)))
    view, projection = (np.asarray(matrix) for matrix in render.to_opengl(camera))
    clip = np.einsum("bij,bjk,bvk->bvi", projection, view, homogeneous(points))
    np.testing.assert_allclose(camera.project(points), clip, atol=1e-12)
    with pytest.raises(ValueError, match="projection"):
        render.from_opengl(view, projection)


def test_opencv_pixels_of_opencv(float64):
    # Results of cv2.projectPoints in PyTorch3D, tests/data/cv_project_points_precomputed.json, third camera.
    rotation = Rotation.from_rotvec([0.9529480300972241, -0.8534383895555052, -2.0235766239679127]).as_matrix()
    intrinsics = np.array([[0.6332697, 0, -0.0084798], [0, 0.5719922, 0.5328057], [0, 0, 1]])
    camera = render.from_opencv(intrinsics, rotation, np.array([-0.3351616, -1.6076185, 0.0039651]), (10, 19))
    points = np.array([[-0.3824862, 0.6916619, 0.353885], [1.0475853, -0.4238962, -3.5147681]])
    expected = [[-0.1735197, -0.5026447], [-0.5086927, 1.2602939]]
    np.testing.assert_allclose(pixels_here(camera, points, (10, 19)), expected, atol=2e-6)


def test_pytorch3d_values_of_its_tests(float64):
    # tests/test_cameras.py, test_perspective: fov 60, (1, 2, 10) falls on NDC (sqrt 3, 2 sqrt 3) / 10. Its x
    # points left.
    focal = np.full(2, 1 / np.tan(np.pi / 6))
    camera = render.from_pytorch3d(np.eye(3), np.zeros(3), focal, np.zeros(2), SQUARE)
    clip = camera.project(np.array([[1.0, 2.0, 10.0]]))[0]
    np.testing.assert_allclose(clip[:2] / clip[3], [-np.sqrt(3) / 10, 2 * np.sqrt(3) / 10], atol=1e-12)
    # The same file, test_look_at_rotation_list_broadcast: R of cameras at (0, 0, -1) and (0, 0, 1).
    for eye, expected in (([0.0, 0, -1], np.eye(3)), ([0.0, 0, 1], np.diag([-1.0, 1, -1]))):
        rotation, translation = look_at(np.array(eye), np.zeros(3), np.array([0.0, 1, 0]))
        camera = PerspectiveCamera(rotation, translation, np.ones(2), np.zeros(2))
        rotation, translation, *_ = render.to_pytorch3d(camera, SQUARE)
        np.testing.assert_allclose(rotation, expected, atol=1e-12)
        np.testing.assert_allclose(translation, [0, 0, 1], atol=1e-12)


def test_opencv_to_pytorch3d_as_pytorch3d_does_it(float64):
    # pytorch3d/renderer/camera_conversions.py: lengths over half the shorter side, x and y turned round.
    intrinsics, rotation, translation = opencv_cameras(np.random.default_rng(0))
    theirs = render.to_pytorch3d(render.from_opencv(intrinsics, rotation, translation, SIZE), SIZE)
    half, centre = min(SIZE) / 2, np.array([SIZE[1], SIZE[0]]) / 2
    turn = np.array([-1.0, -1, 1])
    np.testing.assert_allclose(theirs[0], np.swapaxes(rotation, 1, 2) * turn, atol=1e-12)
    np.testing.assert_allclose(theirs[1], translation * turn, atol=1e-12)
    np.testing.assert_allclose(theirs[2], intrinsics[:, (0, 1), (0, 1)] / half, atol=1e-12)
    np.testing.assert_allclose(theirs[3], -(intrinsics[:, :2, 2] - centre) / half, atol=1e-12)


def test_nmr_values_of_its_tests(float64):
    # neural_renderer/tests/test_look_at.py: the vertex (1, 0, 0) seen from the eyes (1, 0, 1), (0, 0, -10) and
    # (-1, 1, 0); their z points forward.
    camera = render.from_softras(np.sqrt([2.0, 100, 2]), np.array([0.0, 0, 45]), np.array([135.0, 0, -90]))
    np.testing.assert_allclose(camera.position_world, [[1, 0, 1], [0, 0, -10], [-1, 1, 0]], atol=1e-12)
    seen = np.asarray(camera.view(np.array([[[1.0, 0, 0]]] * 3)))[:, 0] * np.array([1, 1, -1])
    root = np.sqrt(2)
    np.testing.assert_allclose(seen, [[-root / 2, 0, root / 2], [1, 0, 10], [0, root / 2, 1.5 * root]], atol=1e-12)
    # tests/test_perspective.py: with the default angle, (1, 2, 10) before the camera falls on (sqrt 3, 2 sqrt 3) / 10.
    camera = PerspectiveCamera(np.eye(3), np.zeros(3), camera.focal[0], np.zeros(2))
    clip = camera.project(np.array([[1.0, 2, -10]]))[0]
    np.testing.assert_allclose(clip[:2] / clip[3], [np.sqrt(3) / 10, 2 * np.sqrt(3) / 10], atol=1e-12)


def test_softras_pictures_are_mirrored(float64):
    _, *angles = theirs = softras_cameras(np.random.default_rng(0))
    camera = render.from_softras(*theirs)
    np.testing.assert_allclose(np.linalg.det(camera.rotation), -1, atol=1e-12)
    points = np.random.default_rng(1).uniform(-0.5, 0.5, (N, 6, 3))
    elevation, azimuth, half = np.radians(angles)
    proper = orbit(theirs[0], elevation, azimuth, 2 * half)
    np.testing.assert_allclose(camera.project(points), proper.project(points * np.array([1.0, 1, -1])), atol=1e-12)
    # Or: the mirrored picture of the camera that stands in the same place.
    same_place = orbit(theirs[0], elevation, np.pi - azimuth, 2 * half)
    mirrored = np.asarray(same_place.project(points)) * np.array([-1.0, 1, 1, 1])
    np.testing.assert_allclose(camera.project(points), mirrored, atol=1e-12)


def test_softras_angles_at_the_poles(float64):
    theirs = np.array([2.0, 2]), np.array([90.0, -90]), np.array([30.0, 200]), np.array([15.0, 15])
    distance, elevation, azimuth, _ = render.to_softras(render.from_softras(*theirs))
    np.testing.assert_allclose(distance, 2)
    np.testing.assert_allclose(elevation, [90, -90], atol=1e-9)
    np.testing.assert_allclose(azimuth, [30, -160], atol=1e-9)


def test_kaolin_values_of_its_tests(float64):
    # kaolin/tests/python/kaolin/render/test_camera.py: camera at (0, 0, 4), tan(fov / 2) = 1 / 2.5, 512 x 256.
    rotation, position, projection = render.to_kaolin(orbit(4.0, 0.0, 0.0, 2 * np.arctan(1 / 2.5), aspect=2.0))
    np.testing.assert_allclose(rotation, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(position, [0, 0, 4], atol=1e-12)
    np.testing.assert_allclose(projection, [[1.25], [2.5], [-1]], atol=1e-12)


def test_dvr_corner_and_shapenet_focal_length(float64):
    # FAQ.md of DVR: (-1, -1) is the upper left corner, the camera looks along +z.
    camera = render.from_dvr(np.eye(4), np.eye(4))
    np.testing.assert_allclose(pixels_here(camera, np.array([[-2.0, -2, 2]]), SIZE), [[0, 0]], atol=1e-12)
    # Occupancy Networks: K of Choy's pictures has 149.84375 and 68.5 px; a 35 mm lens before a 32 mm sensor.
    intrinsics = np.array([[149.84375, 0, 68.5], [0, 149.84375, 68.5], [0, 0, 1]])
    normalise = np.array([[2 / 137, 0, -1], [0, 2 / 137, -1], [0, 0, 1]])
    world = affine(rotations(np.random.default_rng(0))[:1], np.array([[0, 0, 1.5]]))[0]
    from_pixels = render.from_opencv(intrinsics, world[:3, :3], world[:3, 3], (137, 137))
    from_unit = render.from_dvr(world[:3], normalise @ intrinsics)
    for camera in (from_pixels, from_unit):
        np.testing.assert_allclose(camera.focal, [70 / 32, 70 / 32], atol=1e-12)
        np.testing.assert_allclose(camera.principal, [0, 0], atol=1e-12)
        np.testing.assert_allclose(camera.rotation, TURN_ABOUT_X @ world[:3, :3], atol=1e-12)


def test_dvr_takes_scales_and_intrinsics_in_the_world_matrix_apart(float64):
    rng = np.random.default_rng(0)
    world, camera_mat = dvr_cameras(rng)
    scale = affine(np.broadcast_to(0.25 * np.eye(3), (N, 3, 3)), rng.normal(size=(N, 3)) * 0.1)
    # As for DTU: pixels in world_mat, camera_mat brings them to [-1, 1].
    pixels = np.diag([100.0, 90, 1, 1])
    pixels[:2, 2] = 40, 30
    points = rng.uniform(-0.5, 0.5, (N, 6, 3))
    camera = render.from_dvr(3.0 * pixels @ world, camera_mat @ np.linalg.inv(pixels), scale)
    np.testing.assert_allclose(
        pixels_here(camera, points, SIZE), dvr_pixels(points, world, camera_mat, scale), atol=1e-9
    )
    np.testing.assert_allclose(camera.rotation, TURN_ABOUT_X @ world[:, :3, :3], atol=1e-12)
    # Depths are in the units of the points: a quarter of theirs is the world's.
    depth = (homogeneous(points) @ np.swapaxes(world @ scale, 1, 2))[..., 2]
    np.testing.assert_allclose(camera.depth(points) * 0.25, depth, atol=1e-12)
    mirror = np.diag([-1.0, 1, 1, 1])
    mirrored = render.from_dvr(world @ mirror, camera_mat)
    expected = dvr_pixels(points, world @ mirror, camera_mat)
    np.testing.assert_allclose(pixels_here(mirrored, points, SIZE), expected, atol=1e-9)


def test_cmr_side_view_worked_out_by_hand(float64):
    # cmr/utils/bird_vis.py, default camera: scale 0.75, 60 degrees about x, then 90 degrees about y. That takes
    # (0, 0, 1) to (0, -sin 60, cos 60), then to (cos 60, -sin 60, 0); image y points down.
    quaternion = np.roll(
        (Rotation.from_rotvec([0, np.pi / 2, 0]) * Rotation.from_rotvec([np.pi / 3, 0, 0])).as_quat(), 1
    )
    camera = render.from_cmr(np.array([0.75, 0.1, 0.2, *quaternion]))
    clip = camera.project(np.array([[0.0, 0, 1], [1.0, 0, 0]]))
    np.testing.assert_allclose(clip[0, :2], [0.1 + 0.375, -0.2 + 0.75 * np.sqrt(0.75)], atol=1e-12)
    # (1, 0, 0) goes to (0, 0, -1), which is towards the eye on the negative z axis of NMR.
    assert camera.depth(np.array([[1.0, 0, 0]]))[0] == pytest.approx(4)
    np.testing.assert_allclose(camera.to_viewer(np.zeros((1, 3))), [[1, 0, 0]], atol=1e-12)


def test_cmr_mirrors_cameras_as_its_loader_does(float64):
    # cmr/data/base.py, mirror_image: R becomes M R M with M = diag(-1, 1, 1), tx changes its sign.
    (theirs,) = cmr_cameras(np.random.default_rng(0))
    points = np.random.default_rng(1).uniform(-0.5, 0.5, (N, 6, 3))
    mirrored = theirs * np.array([1.0, -1, 1, 1, 1, -1, -1])
    picture = np.asarray(render.from_cmr(theirs).project(points))
    other = render.from_cmr(mirrored).project(points * np.array([-1.0, 1, 1]))
    np.testing.assert_allclose(other[..., :2], picture[..., :2] * np.array([-1.0, 1]), atol=1e-12)


def test_what_the_other_side_cannot_express_is_an_error():
    camera = orbit(2.0, 0.1, 0.2, 0.5)
    with pytest.raises(ValueError, match="negate"):
        render.to_softras(camera)
    shifted = dataclasses.replace(camera, principal=jnp.array([0.1, 0.0]))
    with pytest.raises(ValueError, match="camera.principal"):
        render.to_kaolin(shifted)
    skewed = np.array([[90.0, 5, 40], [0, 90, 24], [0, 0, 1]])
    with pytest.raises(ValueError, match="skew"):
        render.from_opencv(skewed, np.eye(3), np.zeros(3), SIZE)
    with pytest.raises(ValueError, match="rotation"):
        render.from_opencv(np.diag([90.0, 90, 1]), 2 * np.eye(3), np.zeros(3), SIZE)
    with pytest.raises(ValueError, match="image_size"):
        render.to_opencv(camera, (0, 4))


def test_shared_intrinsics_broadcast_over_cameras():
    rotation, translation = rotations(np.random.default_rng(0)), np.zeros((N, 3))
    camera = render.from_opencv(np.diag([90.0, 90, 1]), rotation, translation, SIZE)
    assert [leaf.shape[0] for leaf in jax.tree.leaves(camera)] == [N] * 4
    assert camera.focal.dtype == jnp.float32
    assert render.from_softras(2.0, np.zeros(N), 30.0).rotation.shape == (N, 3, 3)
