"""The hard picture, and its coverage of whole pixels."""

from render.scene import Scene, Softness, paint


def blend(scene: Scene, softness: Softness, face_id):
    """See `render.blending`."""
    return paint(scene, face_id), (face_id >= 0).astype(scene.backdrop.dtype)
