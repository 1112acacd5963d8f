"""Text in the character sets of the world (PS3.5 6.1.2 and annexes H to K), as pydicom writes and reads it."""

import io
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from hermes_common.dicom.header import Header, extract_header
from hermes_common.dicom.part10 import parse_file_meta
from hermes_common.dicom.text import Warnings, codecs_of, decode

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
CASES = {
    "Latin-1": ("ISO_IR 100", "Äneas^Rüdiger", "Schädel nativ"),
    "Latin-2": ("ISO_IR 101", "Wałęsa^Łukasz", "głowa"),
    "Latin-5, Turkish": ("ISO_IR 148", "Çavuşoğlu^İnci", "göğüs"),
    "Cyrillic": ("ISO_IR 144", "Люксембург^Роза", "голова"),
    "Arabic": ("ISO_IR 127", "قباني^لنزار", "رأس"),
    "Greek": ("ISO_IR 126", "Διονυσιος^Αλέξης", "κεφαλή"),
    "Hebrew": ("ISO_IR 138", "שרון^דבורה", "ראש"),
    "Thai": ("ISO_IR 166", "สมชาย^ใจดี", "ศีรษะ"),
    "Japanese, kanji": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "頭部 MRI"),
    "Japanese, half width": (
        ["ISO 2022 IR 13", "ISO 2022 IR 87"],
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
        "頭部",
    ),
    "Japanese, JIS X 0212": (["", "ISO 2022 IR 87", "ISO 2022 IR 159"], "Yamada^Tarou=山田^太郎", "頭部"),
    "Korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동", "두부 MRI"),
    "Chinese, GB18030": ("GB18030", "Wang^XiaoDong=王^小东", "头部 𠀀"),
    "Chinese, GBK": ("GBK", "Wang^XiaoDong=王^小东", "头部"),
    "UTF-8": ("ISO_IR 192", "Wang^XiaoDong=王^小東=왕^소동", "ναὶ да نعم ✓"),
    "Cyrillic and Latin by escapes": (["ISO 2022 IR 100", "ISO 2022 IR 144"], "Müller^Анна", "Kopf, голова"),
    "Greek by escapes": (["", "ISO 2022 IR 126"], "Dionysios=Διονυσιος", "κεφαλή"),
}  # fmt: skip


BYTES = {
    "PS3.5 H.3.1": (
        "\\ISO 2022 IR 87",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    "PS3.5 H.3.2": (
        "ISO 2022 IR 13\\ISO 2022 IR 87",
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ),
    "PS3.5 I.2": (
        "\\ISO 2022 IR 149",
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    "PS3.5 K.2": (
        "\\ISO 2022 IR 58",
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
        "Zhang^XiaoDong=张^小东=",
    ),
    "Latin-9": ("ISO_IR 203", "Šimek^10 €".encode("iso8859-15"), "Šimek^10 €"),
    "Latin-9 by escapes": ("\\ISO 2022 IR 203", b"A^\x1b-b10 \xa4^B", "A^10 €^B"),
    "Cyrillic by escapes, back to Latin at the caret": (
        "ISO 2022 IR 100\\ISO 2022 IR 144",
        b"M\xfcller=\x1b-L" + "Анна".encode("iso8859-5") + b"^\xe4",
        "Müller=Анна^ä",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BYTES)
def test_the_examples_of_the_standard_are_read_as_it_says(case: str) -> None:
    charset, raw, name = BYTES[case]
    noted = Warnings()
    assert decode(raw, codecs_of(charset.split("\\"), noted), "PatientName", noted) == name
    assert noted.texts == []


@pytest.mark.parametrize("charset", ["\\ISO 2022 IR 58", "\\ISO 2022 IR 149"])
def test_escapes_that_a_writer_forgot_are_a_warning(charset: str) -> None:
    """As pydicom does, for one, with ISO 2022 IR 58."""
    codecs = codecs_of(charset.split("\\"), Warnings())
    noted = Warnings()
    assert decode("A=中^中".encode(codecs[1]), codecs, "PatientName", noted) == "A=中^中"
    assert len(noted.texts) == 1


def written(charset: str | list[str], name: str, description: str, syntax: str) -> bytes:
    """A file as pydicom writes it; the texts stand on top and in an item of a sequence, which inherits the set."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = charset
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", "1.2.3"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.4", "1.2.5"
    dataset.PatientName = name
    dataset.SeriesDescription = description
    dataset.PatientComments = f"{description}\n{description}"
    code = Dataset()
    code.CodeMeaning = description
    dataset.ProcedureCodeSequence = [code]
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID, dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.9", "1.2.3"
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def read(file: bytes) -> Header:
    part10 = parse_file_meta(file)
    return extract_header(file[part10.offset :], part10.meta.transfer_syntax)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("case", CASES)
def test_text_comes_out_as_it_was_written_and_as_pydicom_reads_it(case: str, syntax: str) -> None:
    charset, name, description = CASES[case]
    file = written(charset, name, description, syntax)
    header = read(file)
    assert header.warnings == []
    assert header.tags["PatientName"] == [name]
    assert header.tags["SeriesDescription"] == [description]
    assert header.tags["PatientComments"] == [f"{description}\n{description}"]
    assert header.tags["ProcedureCodeSequence.CodeMeaning"] == [description]
    reference = dcmread(io.BytesIO(file))
    assert str(reference.PatientName) == name
    assert reference.SeriesDescription == description


@pytest.mark.parametrize("charset", ["ISO_IR 999", "LATIN1", "ISO 2022 IR 1234", "ISO_IR 100\\nonsense", "KOI8-R", "?"])
@pytest.mark.parametrize("case", CASES)
def test_a_set_that_is_not_the_right_one_gives_text_and_a_warning(case: str, charset: str) -> None:
    """The bytes stay as they are; what says how to read them is wrong."""
    right, name, description = CASES[case]
    term = "\\".join([right] if isinstance(right, str) else right).encode()
    file = written(right, name, description, ExplicitVRLittleEndian)
    padded, wrong = term + b" " * (len(term) % 2), charset.encode() + b" " * (len(charset) % 2)
    old = b"\x08\x00\x05\x00CS" + len(padded).to_bytes(2, "little") + padded
    new = b"\x08\x00\x05\x00CS" + len(wrong).to_bytes(2, "little") + wrong
    assert file.count(old) == 1
    header = read(file.replace(old, new))
    assert header.warnings
    assert header.tags["PatientName"][0]
    assert header.tags["SeriesDescription"][0]
    assert all(value.encode() for values in header.tags.values() for value in values)


def test_a_set_that_is_left_out_is_read_as_utf_8_where_it_is_that() -> None:
    file = written("ISO_IR 192", "王^小東", "да", ExplicitVRLittleEndian)
    bare = file.replace(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 192", b"")
    header = read(bare)
    assert header.tags["PatientName"] == ["王^小東"]
    assert header.tags["SeriesDescription"] == ["да"]
    assert any("UTF-8" in warning for warning in header.warnings)


def test_a_backslash_that_is_half_of_a_character_separates_no_values() -> None:
    """In GB18030 and Shift-JIS a second byte may be 5CH."""
    text = "誠"
    assert b"\\" in text.encode("gb18030")
    header = read(written("GB18030", "A", f"x{text}y", ExplicitVRLittleEndian))
    assert header.tags["SeriesDescription"] == [f"x{text}y"]


@given(st.binary(max_size=60), st.lists(st.sampled_from(["", "ISO 2022 IR 6", "ISO 2022 IR 13", "ISO 2022 IR 87",
       "ISO 2022 IR 149", "ISO 2022 IR 58", "GB18030", "ISO_IR 192", "ISO_IR 100", "x"]), max_size=3))  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_text_in_any_set(raw: bytes, charset: list[str]) -> None:
    noted = Warnings()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decode(raw, codecs_of(charset, noted), "PatientName", noted).encode()
