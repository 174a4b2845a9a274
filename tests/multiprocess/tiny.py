"""A run of seconds on four devices, half of them for the model: silhouettes of ten birds, no texture."""

from ml_collections import ConfigDict

from configs import quickstart


def get_config() -> ConfigDict:
    """As the quickstart's ``tiny``, and less of it."""
    config = quickstart.get_config("tiny,shape=transformer")
    config.mesh = (("data", 2), ("model", 2))
    config.model.num_keypoints, config.model.shape.level = 0, 2
    config.model.texture.kind = "none"
    config.model.camera.predict = False
    config.optimizer.name = "adamw"
    config.stage.shape.losses = ConfigDict(dict(iou=1.0, laplacian=0.02))
    config.stages = (("shape", 12),)
    config.log_every, config.checkpoint_every = 1, 4
    return config
