"""What a loaded record has to show of the bird that `cub_writer` drew."""

import jax.numpy as jnp
import numpy as np

from ast_jax.data.store import ObjectRecord
from render import OrthographicCamera
from tests.datasets.cub_writer import KEYPOINTS, bird_mesh
from tests.datasets.seen import face_ids


def camera_of(record: ObjectRecord) -> OrthographicCamera:
    arrays = (record.rotation, record.translation, record.focal, record.principal)
    return OrthographicCamera(*(jnp.asarray(array) for array in arrays))


def silhouette(record: ObjectRecord) -> np.ndarray:
    """The bird's mesh as the record's camera and our renderer see it."""
    vertices, faces = bird_mesh()
    clip = camera_of(record).project(jnp.asarray(vertices[None], jnp.float32))
    return face_ids(clip, faces, record.images.shape[1:3])[0] >= 0


def assert_camera_sees_the_mask(record: ObjectRecord) -> None:
    mask, seen = record.images[0, ..., 3] > 127, silhouette(record)
    assert mask.sum() > 2000
    assert (mask & seen).sum() >= 0.98 * (mask | seen).sum()
    # Half a pixel of the photograph is 0.45 px or more here, for its square is smaller than 280 px.
    weights = record.images[0, ..., 3].astype(float), seen.astype(float)
    centres = [np.array([(w * place).sum() / w.sum() for place in np.indices(w.shape)]) for w in weights]
    assert np.abs(centres[0] - centres[1]).max() < 0.2


def assert_camera_hits_the_key_points(record: ObjectRecord, tolerance: float) -> None:
    keypoints = record.keypoints_ndc[0]
    ndc = np.asarray(camera_of(record).project(jnp.asarray(KEYPOINTS[None], jnp.float32)))[0, :, :2]
    seen = keypoints[:, 2] > 0
    assert seen.sum() >= 7
    np.testing.assert_allclose(ndc[seen], keypoints[seen, :2], atol=tolerance)
