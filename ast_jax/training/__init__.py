"""From a config and a data set to a trained model: the loop, its step, stages, state and checkpoints."""
