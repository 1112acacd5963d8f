"""Data sets to be changed, in this process: as in the one that changes them, pydicom only writes what is there."""

from collections.abc import Iterator

import pytest
from pydicom import config


@pytest.fixture(autouse=True)
def as_in_the_process() -> Iterator[None]:
    before = config.settings.reading_validation_mode, config.settings.writing_validation_mode
    config.settings.reading_validation_mode = config.settings.writing_validation_mode = config.IGNORE
    yield
    config.settings.reading_validation_mode, config.settings.writing_validation_mode = before
