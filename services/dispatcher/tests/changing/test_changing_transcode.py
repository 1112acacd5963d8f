"""Transcoding: every pixel that was there is there afterwards, or there is a reason and nothing to send."""

import io
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom.data
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.uid import UID

from hermes_common.changes import JPEG_2000, WRITABLE
from hermes_common.dicom.errors import DicomError
from hermes_common.dicom.header import extract_header
from hermes_common.dicom.part10 import FileMeta, encode_file_meta, parse_file_meta
from hermes_dispatcher.core.changing.change import Changed, change
from hermes_dispatcher.core.changing.encoding import decoded, encoded
from hermes_dispatcher.core.changing.errors import UnchangeableError
from hermes_dispatcher.core.changing.order import Order

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

EXPLICIT, IMPLICIT, BIG, DEFLATED = (f"1.2.840.10008.1.2{end}" for end in (".1", "", ".2", ".1.99"))
RLE, J2K = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90"
MEMORY = 1 << 28
NOT_DECODED = {"JPEG-lossy.dcm", "JPEG2000-embedded-sequence-delimiter.dcm", "badVR.dcm"}
"""Bundled files that none of pydicom's decoders reads (12 bit JPEG; a stream cut by its own bytes; 1A frames)."""
NOT_SWAPPED = {"rtdose_expb.dcm", "rtdose_expb_1frame.dcm"}
"""Big endian with 32 bits: which octets change places is not the same for everybody."""


def bundled() -> Iterator[tuple[str, str, bytes]]:
    """Yield (name, transfer syntax, data set) of pydicom's own images that the receiver would take."""
    for name in sorted((Path(pydicom.data.__file__).parent / "test_files").glob("*.dcm")):
        whole = name.read_bytes()
        try:
            part10 = parse_file_meta(whole)
            data = whole[part10.offset :]
            extract_header(data, part10.meta.transfer_syntax)
        except DicomError:
            continue
        has_pixels = (
            b"\xe0\x7f\x10\x00" in data or b"\x7f\xe0\x00\x10" in data or part10.meta.transfer_syntax == DEFLATED
        )
        if has_pixels and "truncated" not in name.name:
            yield name.name, part10.meta.transfer_syntax, data


FILES = list(bundled())


def into(data: bytes, syntax: str, to: str, ratio: float | None = None) -> Changed:
    return change(data, Order(syntax, None, to, ratio, MEMORY))


def image(data: bytes, syntax: str) -> Dataset:
    meta = FileMeta("1.2.840.10008.5.1.4.1.1.7", "1.2", syntax)
    return dcmread(io.BytesIO(encode_file_meta(meta) + data))


def raw(data: bytes, syntax: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.generic]]":
    return pixel_array(image(data, syntax), raw=True)


def test_what_is_bundled_covers_the_transfer_syntaxes_in_use() -> None:
    assert len(FILES) > 50
    assert {syntax for _, syntax, _ in FILES} >= {
        EXPLICIT, IMPLICIT, BIG, DEFLATED, RLE, J2K, JPEG_2000,
        *(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 70, 80)),
    }  # fmt: skip


@pytest.mark.parametrize(("name", "syntax", "data"), FILES, ids=[name for name, _, _ in FILES])
def test_an_image_is_the_same_when_it_is_decompressed(name: str, syntax: str, data: bytes) -> None:
    if name in NOT_DECODED | NOT_SWAPPED:
        with pytest.raises(UnchangeableError, match=r"cannot be (transcoded|read)"):
            into(data, syntax, EXPLICIT)
        return
    before = raw(data, syntax)
    found = into(data, syntax, EXPLICIT)
    assert found.syntax == EXPLICIT
    assert np.array_equal(raw(found.data, EXPLICIT), before)
    assert np.array_equal(pixel_array(image(found.data, EXPLICIT)), pixel_array(image(data, syntax)))
    assert found.sop_instance_uid == image(data, syntax).SOPInstanceUID
    again = into(found.data, EXPLICIT, IMPLICIT)
    assert np.array_equal(raw(again.data, IMPLICIT), before)


@pytest.mark.parametrize("to", [uid for uid in WRITABLE if uid not in (EXPLICIT, IMPLICIT, JPEG_2000)])
def test_compression_without_loss_loses_nothing(to: str) -> None:
    tried = 0
    for name, syntax, data in FILES:
        if syntax not in (EXPLICIT, IMPLICIT, BIG, DEFLATED, RLE) or name in NOT_DECODED or len(data) > 300_000:
            continue
        try:
            found = into(data, syntax, to)
        except UnchangeableError:
            continue
        tried += 1
        assert np.array_equal(raw(found.data, to), raw(data, syntax)), name
        assert image(found.data, to).get("LossyImageCompression") == image(data, syntax).get("LossyImageCompression")
    assert tried >= 15


def test_big_endian_words_are_swapped_in_sequences_too() -> None:
    dataset, item = Dataset(), Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.3", "1.4"
    item.LUTDescriptor, item.LUTExplanation = [2, 0, 16], "x"
    item.add_new(0x00283006, "OW", b"\x01\x02\x03\x04")
    dataset.ModalityLUTSequence = [item]
    dataset.add_new(0x00660016, "OF", b"\x00\x01\x02\x03")
    data = into(encoded(dataset, BIG), BIG, EXPLICIT).data
    found = decoded(data, EXPLICIT, MEMORY)
    assert found.ModalityLUTSequence[0][0x00283006].value == b"\x02\x01\x04\x03"
    assert found[0x00660016].value == b"\x03\x02\x01\x00"
    assert found.ModalityLUTSequence[0].LUTDescriptor == [2, 0, 16]


def test_with_a_loss_only_if_asked_and_then_it_is_another_instance_that_says_so() -> None:
    _, syntax, data = next(file for file in FILES if file[0] == "CT_small.dcm")
    with pytest.raises(UnchangeableError, match="does not allow"):
        into(data, syntax, JPEG_2000)
    found = into(data, syntax, JPEG_2000, 8)
    assert found == into(data, syntax, JPEG_2000, 8)
    after = image(found.data, JPEG_2000)
    assert after.LossyImageCompression == "01"
    assert after.LossyImageCompressionMethod == "ISO_15444_1"
    assert float(after.LossyImageCompressionRatio) > 4
    assert found.sop_instance_uid not in (image(data, syntax).SOPInstanceUID, into(data, syntax, JPEG_2000, 9))
    assert found.series_uid == image(data, syntax).SeriesInstanceUID
    back = np.asarray(raw(found.data, JPEG_2000), dtype=int)
    assert 0 < np.abs(back - np.asarray(raw(data, syntax), dtype=int)).max() < 200


def test_a_data_set_without_pixels_is_sent_uncompressed() -> None:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.11", "1.2"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.3", "1.4"
    data = encoded(dataset, EXPLICIT)
    assert into(data, EXPLICIT, RLE).syntax == EXPLICIT
    assert into(data, EXPLICIT, DEFLATED).syntax == DEFLATED


def test_memory_is_bounded_before_it_is_taken() -> None:
    _, syntax, data = next(file for file in FILES if file[0] == "CT_small.dcm")
    many = decoded(data, syntax, MEMORY)
    many.NumberOfFrames = 1_000_000
    bomb = zlib.compressobj(wbits=-15)
    inflated = bomb.compress(bytes(50_000_000)) + bomb.flush()
    for octets, own, most in (
        (data, syntax, 50_000),
        (encoded(many, syntax), syntax, MEMORY),
        (inflated, DEFLATED, 10**6),
    ):
        with pytest.raises(UnchangeableError, match=r"memory|when inflated"):
            change(octets, Order(own, None, J2K if own != DEFLATED else EXPLICIT, None, most))


def test_video_and_pixels_that_are_elsewhere_are_refused() -> None:
    _, syntax, data = next(file for file in FILES if file[0] == "CT_small.dcm")
    for other in ("1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.94"):
        dataset = decoded(data, syntax, MEMORY)
        with pytest.raises(UnchangeableError):
            into(encoded(dataset, EXPLICIT), other, EXPLICIT)
        assert UID(other).is_transfer_syntax
