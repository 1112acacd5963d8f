"""Small pictures of stored instances: of every transfer syntax, of what has none, and when something is wrong."""

import asyncio
import os
import signal
import struct
import zlib
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from hermes_common.dicom.errors import NotPart10
from hermes_common.dicom.part10 import parse_file_meta
from hermes_common.thumbnails import ASK, LONGEST_SIDE, NoPicture, Thumbnail, ThumbnailAsked
from hermes_dispatcher.adapters.illustrator import Illustrator, PictureLimits
from hermes_dispatcher.adapters.objects import Objects
from hermes_dispatcher.core.changing.encoding import encoded
from hermes_dispatcher.core.picturing.errors import NoPictureError
from hermes_dispatcher.core.picturing.picture import picture
from hermes_dispatcher.core.picturing.png import png
from hermes_dispatcher.handlers.picturing import Picturer

from .test_dispatcher_changes import BUNDLED, stored

pytestmark = pytest.mark.filterwarnings("ignore")
"""As in the process that makes pictures."""

EXPLICIT = "1.2.840.10008.1.2.1"
MOST = 256 * 1024 * 1024


def bundled(name: str) -> tuple[bytes, str]:
    whole = (BUNDLED / name).read_bytes()
    part10 = parse_file_meta(whole)
    return whole[part10.offset :], part10.meta.transfer_syntax


def seen(file: bytes) -> Any:
    """Decode a PNG by the standard's own rules, filter by filter, with checksums."""
    assert file[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(file):
        (length,) = struct.unpack(">I", file[at : at + 4])
        kind, body = file[at + 4 : at + 8], file[at + 8 : at + 8 + length]
        assert struct.unpack(">I", file[at + 8 + length : at + 12 + length]) == (zlib.crc32(kind + body),)
        chunks[kind] = body
        at += 12 + length
    columns, rows, bits, colour, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (bits, rest) == (8, [0, 0, 0])
    samples = {0: 1, 2: 3}[colour]
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(rows, 1 + columns * samples)
    assert set(lines[:, 0]) == {2}
    found = np.cumsum(lines[:, 1:].astype(np.uint64), axis=0).astype(np.uint8)
    return found.reshape(rows, columns, samples) if samples == 3 else found


def image(values: Any, **attributes: Any) -> bytes:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "2.25.1"
    dataset.Rows, dataset.Columns = values.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = 8 * values.dtype.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = 1 if values.dtype.kind == "i" else 0
    if values.ndim == 3:
        dataset.NumberOfFrames = len(values)
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.add_new(0x7FE00010, "OW", values.tobytes())
    return encoded(dataset, EXPLICIT)


def drawn(values: Any, **attributes: Any) -> Any:
    return seen(picture(image(values, **attributes), EXPLICIT, MOST).png)


RAMP = np.arange(256, dtype=np.int16).reshape(16, 16)


@pytest.mark.parametrize(
    "name",
    [
        *("MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "image_dfl.dcm"),
        *("MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPEG2000.dcm", "JPGExtended.dcm"),
        *("JPEGLSNearLossless_08.dcm", "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_dcmtk_+eb+cy+s4.dcm", "SC_rgb_rle_32bit.dcm"),
        *("SC_rgb_jls_lossy_sample.dcm", "SC_ybr_full_422_uncompressed.dcm", "examples_palette.dcm", "rtdose.dcm"),
        *("examples_ybr_color.dcm", "liver_1frame.dcm"),
    ],
)
def test_there_is_a_picture_of_every_transfer_syntax_and_kind_of_pixels(name: str) -> None:
    found = seen(picture(*bundled(name), MOST).png)
    assert max(found.shape[:2]) <= LONGEST_SIDE
    assert int(found.max()) - int(found.min()) > 100  # something is to be seen


def test_the_same_image_is_the_same_picture_in_every_lossless_syntax() -> None:
    names = ("", "_implicit", "_bigendian", "_expb", "_RLE", "_jp2klossless", "_jpeg_ls_lossless")
    assert len({picture(*bundled(f"MR_small{name}.dcm"), MOST).png for name in names}) == 1


def test_colours_come_out_as_they_are() -> None:
    for name in ("SC_rgb_rle.dcm", "SC_rgb_rle_16bit.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_gdcm_KY.dcm"):
        rows = seen(picture(*bundled(name), MOST).png)[5::10, 50].astype(int)
        assert np.abs(rows[[0, 2, 4, 6, 9]] - [[255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 0], [255] * 3]).max() < 8


def test_of_several_frames_the_one_in_the_middle_is_shown() -> None:
    frames = np.stack([np.full((4, 4), n * 20, np.uint8) for n in range(5)])
    frames[2, 0, 0], frames[2, 3, 3] = 0, 255
    found = picture(image(frames), EXPLICIT, MOST)
    assert (found.frame, found.frames) == (3, 5)
    assert seen(found.png)[0, 0] < seen(found.png)[1, 1] < seen(found.png)[3, 3]


def test_a_window_is_applied_as_the_standard_says() -> None:
    linear = drawn(RAMP, WindowCenter=100, WindowWidth=51)
    assert linear[0, 0] == 0
    assert linear[15, 15] == 255
    assert linear.flat[100] == round(((100 - 99.5) / 50 + 0.5) * 255)
    exact = drawn(RAMP, WindowCenter=100, WindowWidth=50, VOILUTFunction="LINEAR_EXACT")
    assert exact.flat[100] == round(127.5)
    curved = drawn(RAMP, WindowCenter=100, WindowWidth=50, VOILUTFunction="SIGMOID")
    assert curved.flat[125] == round(255 / (1 + np.exp(-2)))
    rescaled = drawn(RAMP, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=-800, WindowWidth=101)
    assert rescaled.flat[100] == round((0.5 / 100 + 0.5) * 255)
    enhanced = Dataset()
    enhanced.FrameVOILUTSequence = [Dataset()]
    enhanced.FrameVOILUTSequence[0].WindowCenter, enhanced.FrameVOILUTSequence[0].WindowWidth = 100, 51
    assert (drawn(RAMP, SharedFunctionalGroupsSequence=[enhanced]) == linear).all()


@pytest.mark.parametrize(
    "window",
    [{}, {"WindowCenter": 5000, "WindowWidth": 10}, {"WindowCenter": 0, "WindowWidth": 0}],
)
def test_without_a_window_that_shows_something_the_picture_is_stretched(window: dict[str, int]) -> None:
    found = drawn(RAMP, **window)
    assert (found.min(), found.max()) == (0, 255)


def test_monochrome1_is_inverted_and_padding_is_black_in_both() -> None:
    values = RAMP.copy()
    values[0, 0] = -2000
    plain = drawn(values, PixelPaddingValue=-2000)
    inverse = drawn(values, PixelPaddingValue=-2000, PhotometricInterpretation="MONOCHROME1")
    assert plain[0, 0] == inverse[0, 0] == 0
    assert (plain.flat[1:].astype(int) + inverse.flat[1:] == 255).all()
    assert plain.flat[128] > 100  # the padding has no part in the stretching


def test_a_large_image_is_made_small_by_means_and_keeps_its_proportions() -> None:
    values = np.tile(np.array([[0, 200], [200, 0]], np.uint8), (300, 512))
    found = drawn(values, WindowCenter=128, WindowWidth=256)
    assert found.shape == (150, 256)
    assert found.min() > 90
    assert found.max() < 110


def test_an_image_of_one_value_is_grey_and_breaks_nothing() -> None:
    assert set(drawn(np.zeros((8, 8), np.uint16)).flat) == {128}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("test-SR.dcm", "Comprehensive SR"),
        ("rtplan.dcm", "RT Plan"),
        ("waveform_ecg.dcm", "12-lead ECG Waveform"),
        ("reportsi.dcm", "Basic Text SR"),
    ],
)
def test_what_has_no_image_says_what_it_is(name: str, words: str) -> None:
    with pytest.raises(NoPictureError, match=f"no image: {words}") as said:
        picture(*bundled(name), MOST)
    assert said.value.why is NoPicture.NO_IMAGE


def test_what_cannot_be_decoded_is_one_outcome_and_quotes_nothing_of_the_data() -> None:
    data, syntax = bundled("MR_small_jp2klossless.dcm")
    broken = data[:-2000] + bytes(2000)
    for wrong, said_of in ((broken, syntax), (data[:300], syntax), (b"\x08\0\x60\0CS\xff\xff", EXPLICIT)):
        with pytest.raises(NoPictureError) as said:
            picture(wrong, said_of, MOST)
        assert said.value.why in (NoPicture.UNREADABLE, NoPicture.NO_IMAGE)
    with pytest.raises(NoPictureError) as large:
        picture(image(RAMP, Rows=60000, Columns=60000), EXPLICIT, MOST)
    assert large.value.why is NoPicture.TOO_LARGE
    deflated = zlib.compressobj(wbits=-15)
    bomb = deflated.compress(b"\x08\0\x18\0UI\0\0" + bytes(300 * 1024 * 1024)) + deflated.flush()
    with pytest.raises(NoPictureError) as inflated:
        picture(bomb, "1.2.840.10008.1.2.1.99", 64 * 1024 * 1024)
    assert inflated.value.why is NoPicture.UNREADABLE


def test_png_of_odd_sizes_reads_back_as_it_was() -> None:
    for shape in ((1, 1), (3, 7), (5, 2, 3)):
        values = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
        assert (seen(png(values)) == values).all()


# -- on the bus, with store and process


@pytest.fixture
def illustrator(place: Any, tmp_path: Path) -> Iterator[Illustrator]:
    objects = Objects(place.store, 100_000, tmp_path)
    made = Illustrator(place.store, objects, PictureLimits(MOST, timedelta(seconds=60)))
    yield made
    made.close()


@pytest.fixture
async def ask(place: Any, illustrator: Illustrator) -> AsyncIterator[Any]:
    serving = asyncio.create_task(Picturer(place.bus, illustrator, "dispatcher@a").run())
    await place.bus.nc.flush()

    async def ask_(instance: Any) -> Thumbnail:
        body = ThumbnailAsked(instance=instance).model_dump_json().encode()
        answer = await place.bus.nc.request(ASK, body, timeout=30)
        return Thumbnail.model_validate_json(answer.data)

    yield ask_
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


@pytest.mark.servers
async def test_a_picture_is_made_of_what_the_store_has_and_only_if_it_is_what_was_received(
    place: Any, ask: Any, illustrator: Illustrator
) -> None:
    instance = stored(place, "CT_small.dcm")
    found = await ask(instance)
    assert (found.why_not, found.dispatcher) == (None, "dispatcher@a")
    assert seen(found.png).shape == (128, 128)
    assert (await ask(stored(place, "test-SR.dcm"))).why_not is NoPicture.NO_IMAGE

    whole = bytearray((BUNDLED / "CT_small.dcm").read_bytes())
    whole[-1000] ^= 1
    flipped = instance.model_copy(update={"key": instance.key.replace(".dcm", "x.dcm")})
    place.store.put_bytes(flipped.key, bytes(whole))
    assert (await ask(flipped)).why_not is NoPicture.DAMAGED
    gone = instance.model_copy(update={"key": instance.key.replace(".dcm", "y.dcm")})
    assert (await ask(gone)).why_not is NoPicture.GONE
    large = instance.model_copy(update={"octets": MOST})
    assert (await ask(large)).why_not is NoPicture.TOO_LARGE

    (process,) = illustrator._beside._running
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    assert (await ask(instance)).png == found.png  # another process has taken its place
    (process,) = (one for one in illustrator._beside._running if one.poll() is None)
    os.kill(process.pid, signal.SIGSTOP)
    illustrator._beside.longest = 1
    assert "took longer" in (await ask(instance)).reason
    illustrator._beside.longest = 60
    assert (await ask(instance)).png == found.png


@pytest.mark.servers
async def test_with_the_store_away_that_is_what_is_said(place: Any, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from hermes_common.runtime.objectstore import StoreUnavailable

    def away(key: str) -> Any:
        raise StoreUnavailable("connection refused at 127.0.0.1:1")

    instance = stored(place, "CT_small.dcm")
    monkeypatch.setattr(place.store, "open", away)
    found = await ask(instance)
    assert (found.why_not, found.reason) == (NoPicture.UNAVAILABLE, "the object store does not answer")


def test_all_bundled_files_end_as_a_picture_or_a_reason() -> None:
    files = sorted(BUNDLED.glob("*.dcm"))
    kinds: dict[str, int] = {}
    for path in files:
        try:
            data, syntax = bundled(path.name)
        except NotPart10:
            continue  # the receiver writes no such object
        try:
            seen(picture(data, syntax, 512 * 1024 * 1024).png)
            kinds["picture"] = kinds.get("picture", 0) + 1
        except NoPictureError as error:
            kinds[error.why] = kinds.get(error.why, 0) + 1
    assert kinds["picture"] >= 54, kinds
    assert kinds[NoPicture.NO_IMAGE] >= 8, kinds
