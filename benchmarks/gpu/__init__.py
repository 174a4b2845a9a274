"""What a GPU does with the renderer and with training, measured by one command: see `benchmarks.gpu.__main__`."""
