"""Speed of the renderer, measured."""
