"""A batch without a data set: noise seen by cameras all round, which changes nothing in what is computed."""

import jax
import numpy as np
from ml_collections import ConfigDict

from ast_jax.batch import Batch
from render import orbit


def noise_batch(config: ConfigDict) -> Batch:
    """A batch of the sizes of the config: discs as masks, noise as pictures, cameras at random azimuths."""
    rng = np.random.default_rng(0)
    b, s, size = config.batch_size, config.data.num_target_views, config.data.render_size
    azimuth = rng.uniform(0, 2 * np.pi, b * s).astype(np.float32)
    flat = orbit(2.732, np.full(b * s, 0.3, np.float32), azimuth, np.full(b * s, 0.5, np.float32))
    y, x = (np.mgrid[:size, :size] + 0.5) / size * 2 - 1
    disc = (x**2 + y**2 < 0.5).astype(np.float32)
    side = config.data.image_size
    picture = rng.uniform(0, 1, (side, side, 4)).astype(np.float32)
    target = rng.uniform(0, 1, (size, size, 3)).astype(np.float32)
    cameras = jax.tree.map(lambda leaf: np.asarray(leaf).reshape(b, s, *leaf.shape[1:]), flat)
    # Views of one array: a batch of thousands of pictures takes the memory of one.
    return Batch(
        image=np.broadcast_to(picture, (b, *picture.shape)),
        input_camera=jax.tree.map(lambda leaf: leaf[:, 0], cameras),
        target_images=np.broadcast_to(target, (b, s, *target.shape)),
        target_masks=np.broadcast_to(disc, (b, s, size, size)),
        camera=cameras,
        keypoints_ndc=np.zeros((b, s, config.model.num_keypoints, 3), np.float32),
        index=np.arange(b, dtype=np.int32),
    )
