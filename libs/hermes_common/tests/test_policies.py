"""What a site may add to the attributes that are read: refused with the reason, or kept in canonical form."""

import pytest
from pydantic import ValidationError

from hermes_common.config import MAX_EXTRA_TAGS, Policies
from hermes_common.dicom.names import collecting_problem, creator_of
from hermes_common.dicom.tags import DEFAULT_TAGS, TagSelection


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Modalitty", "did you mean Modality"),
        ("Qqqqqq", "write a keyword"),
        ("", "without a name"),
        ("x" * 300, "longer than 200"),
        (".".join(["ProcedureCodeSequence"] * 9), "more than 8 parts"),
        ("Foo.CodeValue", "no attribute Foo"),
        ("Modality.CodeValue", "not a sequence"),
        ("ProcedureCodeSequence.", "without a name"),
        ("PixelData", "pixels"),
        ("(7FE1,1001)", "pixels"),
        ("(fffe,e000)", "pixels"),
        ("TransferSyntaxUID", "not in the data set"),
        ("CommandField", "not in the data set"),
        ("RedPaletteColorLookupTableData", "binary data (OW)"),
        ("(0010,9999)", "not in the dictionary"),
        ("(0019,0005)", "no private attribute"),
        ("(0019,0100)", "no private attribute"),
        ("(0005,1000)", "no private attribute"),
        ("0019,100C", "no attribute"),
        ("'; drop table", "no attribute"),
    ],
)
def test_what_cannot_be_read_from_images_is_refused_with_the_reason(name: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Policies(extra_tags=("Modality", name))
    (error,) = caught.value.errors()
    assert error["loc"] == ("extra_tags",)
    assert words in error["msg"]


def test_names_are_kept_in_canonical_form_and_once() -> None:
    names = ("(0019,100c)", " ( 0008 , 103e ) ", "SeriesDescription", "(0040,a043).CodeValue", "(0019,0010)")
    assert Policies(extra_tags=names).extra_tags == (
        "(0019,100C)", "SeriesDescription", "ConceptNameCodeSequence.CodeValue", "(0019,0010)",
    )  # fmt: skip
    with pytest.raises(ValidationError, match="at most 64"):
        Policies(extra_tags=[f"(0019,{0x1000 + i:04X})" for i in range(MAX_EXTRA_TAGS + 1)])


def test_a_document_of_before_has_none() -> None:
    assert Policies.model_validate({"completion": {"quiet_period": "10s"}}).extra_tags == ()


def test_every_name_of_the_default_list_could_be_added_and_is_in_canonical_form() -> None:
    assert all(collecting_problem(name) is None for name in DEFAULT_TAGS)
    assert len(DEFAULT_TAGS) == len(set(DEFAULT_TAGS))
    assert TagSelection.of(DEFAULT_TAGS).names == {*DEFAULT_TAGS}


@pytest.mark.parametrize(("number", "creator"), [(0x0019100C, 0x00190010), (0x0019FF01, 0x001900FF), (0x00190010, None),
                                                 (0x00080060, None)])  # fmt: skip
def test_the_block_of_a_private_element_says_who_its_creator_is(number: int, creator: int | None) -> None:
    assert creator_of(number) == creator
