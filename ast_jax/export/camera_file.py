"""The camera of a reconstruction as numbers that other programs take: mesh points on pixels of the photograph."""

import dataclasses

import numpy as np

from ast_jax.data.crop import Box, photo_camera
from ast_jax.export.textured_mesh import UP_AXES
from render import PerspectiveCamera, to_opencv, to_opengl

_CONVENTIONS = {
    "pixels": "x right, y down, (0, 0) is the upper left corner of the photograph, centres of pixels are at +0.5",
    "opencv": "(x, y, 1) ~ intrinsics (rotation world + translation); camera x right, y down, z forward; no distortion",
    "opengl": "clip = projection view world; camera x right, y up, z backward; x_px = (clip_x / clip_w + 1) / 2 width, "
    "y_px = (1 - clip_y / clip_w) / 2 height",
    "camera_to_world": "inverse of view: the transformation of a camera's node in glTF and Blender's importer",
}


_WORLDS = {
    "y": "right-handed, +Y up, the front of the object towards +Z",
    "z": "right-handed, +Z up, the front of the object towards -Y; it is (x, -z, y) of the GLB, which is always +Y up",
}


def camera_json(
    camera: PerspectiveCamera, box: Box, image_size: tuple[int, int], *, up: str = "y", scale: float = 1.0
) -> dict:
    """The camera of a crop carried to the whole photograph, in the conventions of OpenCV and of OpenGL and glTF.

    Args:
      camera: of the square crop, leading axis 1.
      box: where the crop lies in the photograph, in its pixels.
      image_size: height and width of the photograph as it is shown upright, px.
      up: ``y`` or ``z``, the axis that points up in the file of the mesh.
      scale: factor of the lengths in it.

    Returns:
      what ``json.dumps`` takes: ``image_size_px``, ``crop_px``, ``opencv`` (fx, fy, cx, cy in pixels, intrinsics,
      rotation, translation, and the 3 x 4 projection of the two), ``opengl`` (view, projection, camera_to_world), the
      distances of the planes of the projection, and what all of it means under ``conventions``.
    """
    height, width = image_size
    whole = _in_file(photo_camera(camera, [box], image_size), up, scale)
    intrinsics, rotation, translation = (np.asarray(part[0], np.float64) for part in to_opencv(whole, image_size))
    view, projection = (np.asarray(part[0], np.float64) for part in to_opengl(whole))
    extrinsics = np.concatenate([rotation, translation[:, None]], axis=1)
    (fx, _, cx), (_, fy, cy), _ = intrinsics.tolist()
    return {
        "image_size_px": {"width": width, "height": height},
        "crop_px": dataclasses.asdict(box),
        "opencv": {
            "fx": fx,
            "fy": fy,
            "cx": cx,
            "cy": cy,
            "intrinsics": intrinsics.tolist(),
            "rotation": rotation.tolist(),
            "translation": translation.tolist(),
            "projection": (intrinsics @ extrinsics).tolist(),
        },
        "opengl": {
            "view": view.tolist(),
            "projection": projection.tolist(),
            "camera_to_world": np.linalg.inv(view).tolist(),
            "near": whole.near,
            "far": whole.far,
        },
        "conventions": {"world": f"of the mesh: {_WORLDS[up]}; column vectors, matrices by rows", **_CONVENTIONS},
    }


def _in_file(camera: PerspectiveCamera, up: str, scale: float) -> PerspectiveCamera:
    """The camera that sees scaled and turned vertices where this one sees those of our axes."""
    return dataclasses.replace(
        camera,
        rotation=np.asarray(camera.rotation) @ UP_AXES[up].T.astype(np.float32),
        translation=scale * np.asarray(camera.translation),
        near=scale * camera.near,
        far=scale * camera.far,
    )
