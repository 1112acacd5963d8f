"""The tables of the standard are those of pydicom, and come without it."""

import random
import subprocess
import sys

import pytest
from pydicom.datadict import DicomDictionary, get_entry, keyword_dict
from pydicom.uid import UID_dictionary

from hermes_common.dicom import standard


def test_every_tag_keyword_and_uid_is_what_pydicom_says() -> None:
    assert standard.tags_by_keyword() == keyword_dict
    assert {uid: UID_dictionary[uid] for uid in standard.UIDS} == standard.UIDS  # others add theirs to it
    for tag in DicomDictionary:
        assert standard.entry_of(tag) == get_entry(tag)


def test_tags_that_repeat_and_tags_that_are_not_there_are_told_alike() -> None:
    rng = random.Random(7)
    seen = set()
    groups = [0x5000, 0x50FE, 0x6000, 0x601E, 0x7F00, 0x1000, 0x1010, 0x0020, 0x0028, 0x6001, 0x0009]
    for tag in [
        (rng.choice(groups) << 16) + rng.choice([0x10, 0x22, 0x3010, 0x31FF, rng.randrange(0x10000)])
        for _ in range(3000)
    ]:
        try:
            expected = get_entry(tag)
        except KeyError:
            seen.add("missing")
            with pytest.raises(KeyError):
                standard.entry_of(tag)
        else:
            seen.add("found")
            assert standard.entry_of(tag) == expected
            assert standard.vr_of(tag) == expected[0]
    assert seen == {"missing", "found"}


@pytest.mark.parametrize(
    "module", ["hermes_router.app", "hermes_cleaner.app", "hermes_bookkeeper.app", "hermes_web.app"]
)
def test_services_that_never_read_a_data_set_start_without_pydicom_numpy_and_s3(module: str) -> None:
    heavy = ("pydicom", "numpy", "pynetdicom", "minio", "asyncssh", "apprise", "opentelemetry")
    code = f"import sys, {module}; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
