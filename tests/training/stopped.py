"""Runs that end in the middle, for several files of tests."""

from collections.abc import Generator
from contextlib import contextmanager

import pytest

from ast_jax.training.checkpoint import Checkpoints


@contextmanager
def stopped_at_first_save() -> Generator[None]:
    """The run within ends, as if it were killed, once its first checkpoint is on its way."""
    save = Checkpoints.save

    def save_then_die(self, state, **options):
        save(self, state, **options)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoints, "save", save_then_die)
        yield
