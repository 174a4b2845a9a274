"""The small data set of tests/data, for tests of other rooms."""

from tests.data.conftest import dataset_root, record  # noqa: F401
