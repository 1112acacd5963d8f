"""What a target may have changed on the way: transfer syntax, attributes, UIDs, identity (PS3.15 Annex E)."""

from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from hermes_common.dicom.uids import DEFLATED_LITTLE, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from hermes_common.documents import Document
from hermes_common.edits import EditLine
from hermes_common.secrets import PREFIX, Secret

JPEG_2000: Final = "1.2.840.10008.1.2.4.91"
WRITABLE: Final = {
    EXPLICIT_LITTLE: "Explicit VR Little Endian",
    IMPLICIT_LITTLE: "Implicit VR Little Endian",
    DEFLATED_LITTLE: "Deflated Explicit VR Little Endian",
    "1.2.840.10008.1.2.5": "RLE Lossless",
    "1.2.840.10008.1.2.4.80": "JPEG-LS Lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless",
    JPEG_2000: "JPEG 2000 (lossy)",
}
"""Transfer syntaxes that can be written, by UID, and their names."""

SHORTEST_KEY: Final = 16
Word = Annotated[str, StringConstraints(pattern=r"^\S{1,64}$")]


class Transcode(StrEnum):
    """Whether instances are sent in another transfer syntax than that in which they were received."""

    NEVER = "never"
    IF_NEEDED = "if_needed"
    """Only if the target takes none of what the instance has: association by association."""
    ALWAYS = "always"


class Dates(StrEnum):
    """What becomes of dates and times in de-identification."""

    REMOVE = "remove"
    SHIFT = "shift"
    """By days, the same for everything of a patient (Retain Longitudinal Temporal Information Modified Dates)."""
    KEEP = "keep"
    """As they are (Retain Longitudinal Temporal Information Full Dates)."""


class BurnedIn(StrEnum):
    """What becomes of images into which identifying text may be burned: pixels are never changed."""

    REFUSE = "refuse"
    """Not sent if Burned In Annotation says YES."""
    REQUIRE_NO = "require_no"
    """Not sent unless Burned In Annotation says NO."""
    SEND = "send"


class Deidentification(Document):
    """The Basic Application Level Confidentiality Profile (PS3.15 E.1) and its options (E.3)."""

    profile: Literal["basic"] = "basic"
    dates: Dates = Dates.REMOVE
    shift_days: Annotated[int, Field(ge=1, le=3650)] = 365
    """Dates go back by 1 to so many days."""
    retain_uids: bool = False
    retain_device: bool = False
    retain_institution: bool = False
    retain_patient_characteristics: bool = False
    retain_safe_private: bool = False
    clean_descriptors: bool = False
    """Keep descriptions, of which only known harmless words are left, instead of removing them."""
    words: Annotated[tuple[Word, ...], Field(max_length=500)] = ()
    """Words that may stay in descriptions, besides the common ones of radiology."""
    burned_in: BurnedIn = BurnedIn.REFUSE

    @model_validator(mode="after")
    def _words_are_used(self) -> Self:
        if self.words and not self.clean_descriptors:
            raise ValueError("words that may stay mean nothing unless descriptions are cleaned")
        return self


class Changes(Document):
    """What is changed on the way to a target. Without anything of it the bytes that were received are sent."""

    transcode: Transcode = Transcode.NEVER
    transfer_syntaxes: Annotated[tuple[str, ...], Field(max_length=len(WRITABLE))] = ()
    """UIDs. ``if_needed``: what to propose besides what an instance has, in the order of preference; uncompressed comes
    last anyway. ``always``: the one to send."""
    lossy_ratio: Annotated[float, Field(ge=2, le=100)] | None = None
    """Ratio of lossy compression: without one nothing is ever compressed with a loss."""
    edits: Annotated[tuple[EditLine, ...], Field(max_length=100)] = ()
    """In this order, after de-identification."""
    new_uids: bool = False
    """Study, series and instances, and references to them, get other UIDs, always the same ones for this key."""
    deidentify: Deidentification | None = None
    key: Secret = SecretStr("")
    """What pseudonyms, new UIDs and the shift of dates are made with; the same key makes the same ones."""

    @property
    def alters(self) -> bool:
        """Whether attributes are changed, and not only the transfer syntax."""
        return bool(self.edits) or self.new_uids or self.deidentify is not None

    @property
    def does_nothing(self) -> bool:
        """Whether the bytes that were received are sent."""
        return not self.alters and self.transcode is Transcode.NEVER

    @field_validator("transfer_syntaxes")
    @classmethod
    def _can_be_written(cls, uids: tuple[str, ...]) -> tuple[str, ...]:
        for uid in uids:
            if uid not in WRITABLE:
                raise ValueError(f"{uid} cannot be written; these can: {', '.join(WRITABLE)}")
        if len(set(uids)) != len(uids):
            raise ValueError("each transfer syntax is named once")
        return uids

    @model_validator(mode="after")
    def _syntaxes_fit(self) -> Self:
        count = len(self.transfer_syntaxes)
        if self.transcode is Transcode.ALWAYS and count != 1:
            raise ValueError("to transcode always, name exactly one transfer syntax")
        if self.transcode is Transcode.NEVER and count:
            raise ValueError("transfer syntaxes mean nothing if nothing is transcoded: leave them out, or say when")
        if (JPEG_2000 in self.transfer_syntaxes) != (self.lossy_ratio is not None):
            raise ValueError("JPEG 2000 (lossy) and a lossy ratio are given together or not at all")
        return self

    @model_validator(mode="after")
    def _key_fits(self) -> Self:
        key = self.key.get_secret_value()
        needed = self.new_uids or self.deidentify is not None
        if needed and not key:
            raise ValueError("new UIDs and de-identification need a key for pseudonyms")
        if key and not key.startswith(PREFIX) and len(key) < SHORTEST_KEY:
            raise ValueError(f"the key for pseudonyms needs at least {SHORTEST_KEY} characters")
        if self.new_uids and self.deidentify is not None and self.deidentify.retain_uids:
            raise ValueError("UIDs cannot both be retained and be new")
        return self
