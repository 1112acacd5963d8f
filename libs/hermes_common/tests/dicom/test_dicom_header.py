"""The routing header, against pydicom on every file that pydicom ships, and against hostile bytes."""

from __future__ import annotations

import contextlib
import struct
import warnings
import zlib
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import keyword_for_tag

from hermes_common.dicom.errors import DataSetError, HeadTooShort, InvalidUid, MissingUid, NotPart10, UnreadableDataset
from hermes_common.dicom.header import extract_header
from hermes_common.dicom.part10 import is_part10, parse_file_meta
from hermes_common.dicom.tags import DEFAULT_SELECTION, DEFAULT_TAGS, TagSelection, UnknownTagError
from hermes_common.dicom.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE

ROOT = Path(pydicom.__file__).parent / "data"


def part10_files() -> list[Path]:
    files = (p for p in sorted(ROOT.rglob("*")) if p.is_file() and is_part10(p.read_bytes()[:200]))
    names: dict[str, Path] = {}
    for path in files:
        names.setdefault(path.name if path.name[0].isalpha() else path.parent.name, path)
    return [p for p in names.values() if "DICOMDIR" not in p.name]


def reference(dataset: pydicom.Dataset, name: str) -> list[str] | None:
    """What pydicom says of a top-level attribute, in our form."""
    if name not in dataset:
        return None
    element = dataset[name]
    values = element.value if isinstance(element.value, pydicom.multival.MultiValue | list) else [element.value]
    if element.VR in ("IS", "DS"):
        values = [getattr(v, "original_string", v) for v in values]
    texts = [
        "" if v is None else f"{v:.9g}" if isinstance(v, float) and element.VR in ("FL", "FD") else str(v)
        for v in values
    ]
    texts = [text.strip(" \0\r\n\t")[:256].strip() for text in texts][:32]
    return texts if any(texts) else []


def same(one: list[str] | None, two: list[str] | None) -> bool:
    """Equal, but for the empty last group of a person name, which pydicom drops."""
    return one == two or (one is not None and [text.rstrip("=") for text in one] == two)


@pytest.mark.parametrize("path", part10_files(), ids=lambda p: f"{p.parent.name}-{p.name}")
def test_every_attribute_reads_as_pydicom_reads_it(path: Path):
    raw = path.read_bytes()
    try:
        part10 = parse_file_meta(raw)
        header = extract_header(raw[part10.offset :], part10.meta.transfer_syntax)
    except (MissingUid, NotPart10):
        pytest.skip("has no UIDs to identify an instance by, or no transfer syntax")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        for name in DEFAULT_TAGS:
            if "." not in name:
                assert same(header.tags.get(name), reference(dataset, name)), name


def explicit(tag: int, vr: str, value: bytes) -> bytes:
    value += b" " * (len(value) % 2)
    if vr in ("SQ", "OB", "UN", "UT"):
        return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr.encode(), 0, len(value)) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


def implicit(tag: int, value: bytes) -> bytes:
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value


HEAD = explicit(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.2\0") + explicit(0x00080018, "UI", b"1.2.3\0")
UIDS = explicit(0x0020000D, "UI", b"1.2.4\0") + explicit(0x0020000E, "UI", b"1.2.5\0")
TAIL = explicit(0x7FE00010, "OB", bytes(64))


def test_absent_empty_and_filled_attributes_are_told_apart():
    data = HEAD + explicit(0x00080060, "CS", b"") + explicit(0x00100020, "LO", b" 42 ") + UIDS + TAIL
    tags = extract_header(data, EXPLICIT_LITTLE).tags
    assert tags["Modality"] == []
    assert tags["PatientID"] == ["42"]
    assert "PatientName" not in tags


def test_sequence_paths_collect_the_values_of_all_items_with_defined_and_undefined_lengths():
    item = explicit(0x00080100, "SH", b"CODE1")
    one = struct.pack("<HHL", 0xFFFE, 0xE000, len(item)) + item
    two = (
        struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
        + explicit(0x00080100, "SH", b"CODE2")
        + struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
    )
    end = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    for sequence in (
        explicit(0x00081032, "SQ", one + two),
        struct.pack("<HH2sHL", 8, 0x1032, b"SQ", 0, 0xFFFFFFFF) + one + two + end,
    ):
        tags = extract_header(HEAD + sequence + UIDS + TAIL, EXPLICIT_LITTLE).tags
        assert tags["ProcedureCodeSequence.CodeValue"] == ["CODE1", "CODE2"]


def test_private_attributes_are_reported_by_their_number():
    selection = TagSelection.of(["(0009,10AB)", "Modality"])
    data = HEAD + explicit(0x000910AB, "LO", b"secret\\two") + UIDS + TAIL
    assert extract_header(data, EXPLICIT_LITTLE, selection=selection).tags["(0009,10AB)"] == ["secret", "two"]


def test_the_creator_of_a_private_block_is_reported_with_its_elements():
    selection = TagSelection.of(["(0019,100c)", "ProcedureCodeSequence.(0021,1201)"])
    assert {"(0019,0010)", "(0019,100C)", "ProcedureCodeSequence.(0021,0012)"} <= selection.names
    item = explicit(0x00210012, "LO", b"INSIDE") + explicit(0x00211201, "SH", b"7")
    sequence = explicit(0x00081032, "SQ", struct.pack("<HHL", 0xFFFE, 0xE000, len(item)) + item)
    data = HEAD + sequence + explicit(0x00190010, "LO", b"ACME") + explicit(0x0019100C, "SH", b"x") + UIDS + TAIL
    tags = extract_header(data, EXPLICIT_LITTLE, selection=selection).tags
    assert tags["(0019,0010)"] == ["ACME"]
    assert tags["(0019,100C)"] == ["x"]
    assert tags["ProcedureCodeSequence.(0021,0012)"] == ["INSIDE"]
    assert tags["ProcedureCodeSequence.(0021,1201)"] == ["7"]


def test_a_private_attribute_without_a_written_vr_has_that_of_its_creator_or_is_text():
    """Of SIEMENS MR HEADER (0019,xx0C) is IS, and (0019,xx28) FD."""
    selection = TagSelection.of(["(0019,100C)", "(0019,1118)", "(0029,1010)"])
    uids = [(0x00080016, b"1.2.9\0"), (0x00080018, b"1.2.3\0")], [(0x0020000D, b"1.2.4\0"), (0x0020000E, b"1.2.5\0")]
    private = [
        (0x00190010, b"SIEMENS MR HEADER "),
        (0x00190011, b"nobody"),
        (0x0019100C, b"1000"),
        (0x00191118, b"text"),
    ]
    binary = [(0x00290010, b"nobody"), (0x00291010, b"\x01\x02\x03\x04")]
    data = b"".join(implicit(tag, value) for tag, value in (*uids[0], *private, *uids[1], *binary))
    header = extract_header(data, IMPLICIT_LITTLE, selection=selection)
    assert header.tags["(0019,100C)"] == ["1000"]
    assert header.tags["(0019,1118)"] == ["text"]
    assert header.tags["(0029,1010)"] == []
    assert any("(0029,1010) holds binary data" in warning for warning in header.warnings)
    doubles = [(0x00190010, b"SIEMENS MR HEADER "), (0x00191028, struct.pack("<d", 12.5))]
    data = b"".join(implicit(tag, value) for tag, value in (*uids[0], *doubles, *uids[1]))
    header = extract_header(data, IMPLICIT_LITTLE, selection=TagSelection.of(["(0019,1028)"]))
    assert header.tags["(0019,1028)"] == ["12.5"]


def test_a_path_into_what_is_no_sequence_finds_nothing_and_harms_nothing():
    selection = TagSelection.of(["(0019,1001).CodeValue", "Modality"])
    for element in (explicit(0x00191001, "LO", b"no items here"), explicit(0x00191001, "UN", b"no items here")):
        header = extract_header(HEAD + element + UIDS + TAIL, EXPLICIT_LITTLE, selection=selection)
        assert header.tags.keys() == {"SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"}
    uids = [(0x00080016, b"1.2.9\0"), (0x00080018, b"1.2.3\0")], [(0x0020000D, b"1.2.4\0"), (0x0020000E, b"1.2.5\0")]
    item = implicit(0x00080100, b"CODE")
    for value, expected in ((b"no items", None), (struct.pack("<HHL", 0xFFFE, 0xE000, len(item)) + item, ["CODE"])):
        data = b"".join(implicit(tag, part) for tag, part in (*uids[0], (0x00191001, value), *uids[1]))
        tags = extract_header(data, IMPLICIT_LITTLE, selection=selection).tags
        assert tags.get("(0019,1001).CodeValue") == expected


def nested_codes(depth_first: list[str]) -> bytes:
    """RequestAttributesSequence with one item a code, each with a RequestedProcedureCodeSequence of one item."""
    items = b""
    for code in depth_first:
        inner = explicit(0x00080100, "SH", code.encode())
        middle = explicit(0x00321064, "SQ", struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner)
        items += struct.pack("<HHL", 0xFFFE, 0xE000, len(middle)) + middle
    return explicit(0x00400275, "SQ", items)


def test_a_path_through_several_sequences_collects_the_values_of_all_items():
    data = HEAD + UIDS + nested_codes(["ONE", "TWO"]) + TAIL
    tags = extract_header(data, EXPLICIT_LITTLE).tags
    assert tags["RequestAttributesSequence.RequestedProcedureCodeSequence.CodeValue"] == ["ONE", "TWO"]


@pytest.mark.parametrize(("codes", "said"), [([], []), (["A"], ["1 item"]), (["A", "B"], ["2 items"])])
def test_a_sequence_that_is_wanted_itself_is_reported_by_the_number_of_its_items(codes, said):
    selection = TagSelection.of(["RequestAttributesSequence"])
    data = HEAD + UIDS + nested_codes(codes) + TAIL
    assert extract_header(data, EXPLICIT_LITTLE, selection=selection).tags["RequestAttributesSequence"] == said
    odd = HEAD + UIDS + nested_codes(codes) + b"\x40\0\x76\x02??\0\0" + TAIL
    behind = TagSelection.of(["RequestAttributesSequence", "ConceptNameCodeSequence.CodeValue"])
    with contextlib.suppress(UnreadableDataset):
        assert extract_header(odd, EXPLICIT_LITTLE, selection=behind).tags["RequestAttributesSequence"] == said


def test_the_values_of_an_instance_are_bounded_altogether():
    long = b"\\".join([b"x" * 250] * 32)
    elements = b"".join(explicit(0x00090000 + 0x1000 + i, "UN", long) for i in range(80))
    selection = TagSelection.of([f"(0009,{0x1000 + i:04X})" for i in range(80)])
    header = extract_header(HEAD + elements + UIDS + TAIL, EXPLICIT_LITTLE, selection=selection)
    assert 50 < sum(name.startswith("(0009,10") for name in header.tags) < 80
    assert header.series_uid == "1.2.5"
    assert any("left out" in warning for warning in header.warnings)


def test_a_huge_value_is_cut_before_it_is_copied():
    data = HEAD + explicit(0x00091001, "UT", b"x" * 1_000_000) + UIDS + TAIL
    header = extract_header(data, EXPLICIT_LITTLE, selection=TagSelection.of(["(0009,1001)"]))
    assert header.tags["(0009,1001)"] == ["x" * 256]
    assert any("cut" in warning for warning in header.warnings)


def test_a_name_that_does_not_exist_is_refused():
    with pytest.raises(UnknownTagError):
        TagSelection.of(["Modalitty"])


@pytest.mark.parametrize(
    "charset", [b"ISO_IR 999", b"nonsense", b"utf8", b"ISO IR 100", b"\\", b"ISO_IR 192\\ISO 2022 IR 87", b"\xff\xfe"]
)
@pytest.mark.parametrize("name", [b"M\xfcller^J", b"\x1b$B;3ED\x1b(B^\x1b", b"\x1bQxx", b"\xc3\xbc\xff"])
def test_a_wrong_character_set_gives_text_and_never_a_failure(charset, name):
    data = explicit(0x00080005, "CS", charset) + HEAD + explicit(0x00100010, "PN", name) + UIDS + TAIL
    header = extract_header(data, EXPLICIT_LITTLE)
    assert header.tags["PatientName"][0].encode("utf-8")


def test_an_undefined_character_set_is_a_warning():
    data = explicit(0x00080005, "CS", b"ISO_IR 999") + HEAD + UIDS + TAIL
    assert "ISO_IR 999" in extract_header(data, EXPLICIT_LITTLE).warnings[0]


def test_values_are_bounded_in_number_and_length():
    data = (
        HEAD
        + explicit(0x00081030, "LO", b"x" * 5000)
        + explicit(0x00080008, "CS", b"\\".join([b"A"] * 500))
        + UIDS
        + TAIL
    )
    data = (
        HEAD
        + explicit(0x00080008, "CS", b"\\".join([b"A"] * 500))
        + explicit(0x00081030, "LO", b"x" * 5000)
        + UIDS
        + TAIL
    )
    header = extract_header(data, EXPLICIT_LITTLE)
    assert len(header.tags["ImageType"]) == 32
    assert len(header.tags["StudyDescription"][0]) == 256
    assert len(header.warnings) == 2


def test_a_nul_inside_a_value_is_dropped():
    data = HEAD + explicit(0x00100020, "LO", b"a\0b") + UIDS + TAIL
    assert extract_header(data, EXPLICIT_LITTLE).tags["PatientID"] == ["ab"]


@pytest.mark.parametrize("uid", [b"../../etc/x", b"1..2", b".1", b"1." + b"2" * 64, b"1.2\\1.3", b"1.2 3", b"1.2.\xb2"])
def test_what_cannot_be_a_uid_is_an_error_that_names_it(uid):
    data = HEAD + explicit(0x0020000D, "UI", b"1.2.4\0") + explicit(0x0020000E, "UI", uid) + TAIL
    with pytest.raises(InvalidUid) as caught:
        extract_header(data, EXPLICIT_LITTLE)
    assert caught.value.keyword == "SeriesInstanceUID"


def test_leading_zeros_in_a_component_are_accepted():
    data = HEAD + explicit(0x0020000D, "UI", b"1.02.4") + explicit(0x0020000E, "UI", b"1.2.005\0") + TAIL
    assert extract_header(data, EXPLICIT_LITTLE).series_uid == "1.2.005"


@pytest.mark.parametrize("missing", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_a_missing_or_empty_uid_is_an_error_that_names_it(missing):
    uids = {
        0x00080016: "SOPClassUID",
        0x00080018: "SOPInstanceUID",
        0x0020000D: "StudyInstanceUID",
        0x0020000E: "SeriesInstanceUID",
    }
    for kept in (None, b""):
        data = b"".join(
            explicit(tag, "UI", b"1.2.3\0" if name != missing else kept or b"")
            for tag, name in uids.items()
            if name != missing or kept is not None
        )
        with pytest.raises(MissingUid) as caught:
            extract_header(data, EXPLICIT_LITTLE)
        assert caught.value.keyword == missing


def nested(depth: int) -> bytes:
    inner = explicit(0x00080100, "SH", b"X")
    opening = struct.pack("<HH2sHL", 8, 0x1032, b"SQ", 0, 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    closing = struct.pack("<HHL", 0xFFFE, 0xE00D, 0) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    return opening * depth + inner + closing * depth


def test_sequences_may_nest_up_to_the_cap_and_not_beyond():
    assert extract_header(HEAD + nested(60) + UIDS + TAIL, EXPLICIT_LITTLE).series_uid == "1.2.5"
    for depth in (70, 5000):
        with pytest.raises(UnreadableDataset, match="nested"):
            extract_header(HEAD + nested(depth) + UIDS + TAIL, EXPLICIT_LITTLE)


def test_a_bounded_head_is_enough_when_it_reaches_the_last_routing_attribute():
    data = HEAD + explicit(0x00080060, "CS", b"CT") + UIDS + TAIL + bytes(100_000)
    whole = extract_header(data, EXPLICIT_LITTLE)
    assert extract_header(data[: data.index(b"\xe0\x7f") + 20], EXPLICIT_LITTLE, truncated=True) == whole


def test_every_shorter_head_asks_for_more_and_never_answers_wrongly():
    data = HEAD + explicit(0x00080060, "CS", b"CT") + nested(3) + UIDS + TAIL
    whole = extract_header(data, EXPLICIT_LITTLE)
    for cut in range(len(data) - len(TAIL) + 8):
        with pytest.raises(HeadTooShort):
            extract_header(data[:cut], EXPLICIT_LITTLE, truncated=True)
    assert extract_header(data, EXPLICIT_LITTLE, truncated=True) == whole


def test_a_data_set_that_contradicts_its_transfer_syntax_is_read_with_a_warning():
    explicit_data = HEAD + UIDS + TAIL
    implicit_data = b"".join(
        implicit(tag, value)
        for tag, value in (
            (0x00080016, b"1.2.840.10008.5.1.4.1.1.2\0"),
            (0x00080018, b"1.2.3\0"),
            (0x0020000D, b"1.2.4\0"),
            (0x0020000E, b"1.2.5\0"),
        )
    )
    assert "explicit" in extract_header(explicit_data, IMPLICIT_LITTLE).warnings[0]
    assert "implicit" in extract_header(implicit_data, EXPLICIT_LITTLE).warnings[0]


def test_a_deflated_bomb_is_bounded():
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = explicit(0x00091001, "OB", b"")[:-4] + struct.pack("<L", 300_000_000)
    packed = deflater.compress(HEAD + bomb) + deflater.compress(bytes(30_000_000)) + deflater.flush()
    with pytest.raises(UnreadableDataset, match="inflated"):
        extract_header(packed, "1.2.840.10008.1.2.1.99")
    with pytest.raises(UnreadableDataset, match="cannot be inflated"):
        extract_header(b"\xff" * 100, "1.2.840.10008.1.2.1.99")


def test_a_data_set_that_is_only_said_to_be_deflated_is_named_as_such():
    with pytest.raises(UnreadableDataset, match="not deflated, although"):
        extract_header(HEAD, "1.2.840.10008.1.2.1.99")


def test_trailing_zero_padding_is_no_error():
    data = HEAD + UIDS
    for count in (2, 8, 100):
        assert extract_header(data + bytes(count), EXPLICIT_LITTLE).study_uid == "1.2.4"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_bytes_give_a_header_or_a_typed_error(data):
    base = HEAD + explicit(0x00080060, "CS", b"CT") + nested(2) + explicit(0x00100010, "PN", b"A^B") + UIDS + TAIL
    raw = bytearray(base)
    for _ in range(data.draw(st.integers(0, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    syntax = data.draw(
        st.sampled_from([EXPLICIT_LITTLE, IMPLICIT_LITTLE, "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"])
    )
    with contextlib.suppress(DataSetError):
        header = extract_header(bytes(raw[:cut]), syntax, truncated=data.draw(st.booleans()))
        assert set(header.tags) <= _names(DEFAULT_SELECTION)


def _names(selection: TagSelection) -> set[str]:
    names: set[str] = set()
    stack = [selection.nodes]
    while stack:
        for node in stack.pop().values():
            names.add(node.name)
            stack.append(node.children)
    return names


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([0x00080060, 0x00081030, 0x0008103E, 0x00100020, 0x00180015, 0x00181030]),
        st.text("ABC xyz0189", max_size=30),
        max_size=6,
    )
)
def test_generated_text_attributes_come_back_in_both_encodings(values):
    def ordered(encode):
        known = {0x00080016: b"1.2.9\0", 0x00080018: b"1.2.3\0", 0x0020000D: b"1.2.4\0", 0x0020000E: b"1.2.5\0"}
        texts = {tag: text.encode() + b" " * (len(text) % 2) for tag, text in values.items()}
        return b"".join(encode(tag, value) for tag, value in sorted((known | texts).items()))

    one = extract_header(
        ordered(lambda tag, value: explicit(tag, "UI" if value[-1:] == b"\0" else "LO", value)), EXPLICIT_LITTLE
    )
    two = extract_header(ordered(implicit), IMPLICIT_LITTLE)
    assert one.tags == two.tags
    for tag, text in values.items():
        assert one.tags[keyword_for_tag(tag)] == ([text.strip()] if text.strip() else [])


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
def test_a_data_set_that_ends_inside_a_uid_is_unreadable_instead_of_another_instance(syntax: str):
    uids = [
        (8, 0x16, b"1.2.840.10008.5.1.4.1.1.2\0"),
        (8, 0x18, b"1.2.3\0"),
        (32, 13, b"1.2.4\0"),
        (32, 14, b"1.2.5.67"),
    ]
    explicit = syntax == EXPLICIT_LITTLE
    data = b"".join(
        struct.pack("<HH2sH", group, element, b"UI", len(value)) + value
        if explicit
        else struct.pack("<HHL", group, element, len(value)) + value
        for group, element, value in uids
    )
    assert extract_header(data, syntax).series_uid == "1.2.5.67"
    for cut in range(1, 8):
        with pytest.raises(UnreadableDataset, match="0020,000e"):
            extract_header(data[:-cut], syntax)
