"""De-identification of a data set by PS3.15 Annex E: basic profile with options, closed by a search for what is left.

What cannot be treated as configured raises UnchangeableError: such an instance is not sent.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, assert_never

from pydicom.datadict import dictionary_has_tag, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from hermes_common.changes import BurnedIn, Dates, Deidentification
from hermes_common.dicom.names import creator_of
from hermes_dispatcher.core.changing.descriptors import cleaned
from hermes_dispatcher.core.changing.errors import UnchangeableError, named
from hermes_dispatcher.core.changing.identity import Identity, shifted_date, shifted_date_time
from hermes_dispatcher.core.changing.profile import SAFE_PRIVATE, TEMPORAL, Act, Profile
from hermes_dispatcher.core.changing.uids import replace_uids
from hermes_dispatcher.core.changing.values import TEXT, text_of

_CONTENT: Final = {0x0040A730: "a structured report", 0x00420011: "an encapsulated document"}
_DUMMY: Final = {
    "AE": "ANONYMIZED", "AS": "000Y", "CS": "ANONYMIZED", "DA": "19000101", "DS": "0", "DT": "19000101000000",
    "IS": "0", "LO": "ANONYMIZED", "LT": "ANONYMIZED", "PN": "ANONYMIZED", "SH": "ANONYMIZED", "ST": "ANONYMIZED",
    "TM": "000000", "UC": "ANONYMIZED", "UR": "http://anonymized.invalid", "UT": "ANONYMIZED",
}  # fmt: skip
_NUMBERS: Final = frozenset({"FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"})
_BYTES: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_PATIENT_ID, _PATIENT_NAME, _ISSUER = 0x00100020, 0x00100010, 0x00100021
_PERSONAL: Final = (
    "PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName",
    "AccessionNumber", "StudyID", "PatientAddress", "PatientTelephoneNumbers", "MedicalRecordLocator", "MilitaryRank",
    "ReferringPhysicianName", "PerformingPhysicianName", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy",
    "RequestingPhysician", "OperatorsName",
)  # fmt: skip
_PARTS: Final = re.compile(r"[\s^=,;]+")
_OVERLAYS: Final = 0x6000
"""Repeating group: without its data, which the profile removes, the rest of an overlay would be in the way."""
_SHORTEST: Final = 4
"""Characters of a part of a name or of an identifier that is searched for."""


def deidentify(dataset: Dataset, options: Deidentification, identity: Identity) -> None:
    """De-identify in place; raise :class:`UnchangeableError`."""
    _refuse_what_cannot_be(dataset, options)
    _Run(dataset, Profile(options), identity).run()


def _refuse_what_cannot_be(dataset: Dataset, options: Deidentification) -> None:
    for tag, words in _CONTENT.items():
        if tag in dataset:
            raise UnchangeableError(f"it is {words}, whose content cannot be de-identified")
    said = str(dataset.get("BurnedInAnnotation") or "").strip().upper()
    match options.burned_in:
        case BurnedIn.SEND:
            pass
        case BurnedIn.REFUSE:
            if said == "YES":
                raise UnchangeableError("Burned In Annotation is YES: the image shows what may identify somebody")
        case BurnedIn.REQUIRE_NO:
            if said != "NO":
                is_so = said if said == "YES" else "something else" if said else "missing"
                raise UnchangeableError(f"Burned In Annotation is {is_so}, and this target asks for NO")
        case _:
            assert_never(options.burned_in)


class _Run:
    def __init__(self, dataset: Dataset, profile: Profile, identity: Identity) -> None:
        self._dataset = dataset
        self._profile = profile
        self._identity = identity
        self._options = profile.options
        first = {tag: _first(dataset, tag) for tag in (_PATIENT_ID, _ISSUER, _PATIENT_NAME)}
        self._pseudonym = identity.patient(first[_PATIENT_ID], first[_ISSUER], first[_PATIENT_NAME])
        self._days = identity.days(self._pseudonym, self._options.shift_days)
        self._identifying = frozenset(_identifying(dataset))

    def run(self) -> None:
        dataset = self._dataset
        self._treat(dataset)
        dataset.PatientID = dataset.PatientName = self._pseudonym
        if not self._options.retain_uids:
            replace_uids(dataset, self._identity)
        self._sweep(dataset)
        self._say(dataset)

    def _treat(self, dataset: Dataset) -> None:
        for tag in [int(tag) for tag in dataset.keys()]:  # noqa: SIM118  # a data set is iterated over by elements
            group = tag >> 16
            if tag & 0xFFFF == 0 or group <= 0x0002 or group & 0xFF01 == _OVERLAYS:
                del dataset[tag]
            elif group & 1:
                if not self._is_safe_private(dataset, tag):
                    del dataset[tag]
            else:
                self._treat_one(dataset, tag)
        _drop_lone_creators(dataset)

    def _treat_one(self, dataset: Dataset, tag: int) -> None:
        act = self._profile.act(tag)
        if act is None and not _is_known(tag):
            del dataset[tag]  # an attribute that is in no dictionary may mean anything
            return
        if act is Act.REMOVE:
            del dataset[tag]
            return
        element = _converted(dataset, tag)
        match act:
            case None | Act.KEEP | Act.UID:
                self._inside(element)
            case Act.EMPTY | Act.DUMMY:
                self._replace(dataset, element, act)
            case Act.CLEAN:
                self._clean(dataset, element)
            case Act.SHIFT:
                self._shift(dataset, element)
            case _:
                assert_never(act)

    def _inside(self, element: DataElement) -> None:
        if element.VR == "SQ":
            for item in element.value:
                self._treat(item)

    def _replace(self, dataset: Dataset, element: DataElement, act: Act) -> None:
        vr = str(element.VR)
        if vr == "SQ":
            element.value = Sequence([])
        elif act is Act.EMPTY and vr not in TEMPORAL:
            element.value = None if vr in _NUMBERS else b"" if vr in _BYTES else ""
        elif vr in TEMPORAL and act is Act.EMPTY:
            element.value = ""
        elif vr in _DUMMY:
            element.value = _DUMMY[vr]
        elif vr in _NUMBERS:
            element.value = 0
        elif vr in _BYTES:
            element.value = b"\0\0"
        elif vr == "UI":
            element.value = self._identity.uid(str(element.value or "2.25.0"))
        else:
            raise UnchangeableError(f"{named(int(element.tag))} has the VR {vr}, for which there is no harmless value")
        dataset[element.tag] = element

    def _clean(self, dataset: Dataset, element: DataElement) -> None:
        if element.VR not in TEXT:
            del dataset[element.tag]
            return
        texts = [cleaned(text, self._options.words, self._identifying) for text in text_of(element)]
        element.value = texts if len(texts) > 1 else texts[0] if texts else ""

    def _shift(self, dataset: Dataset, element: DataElement) -> None:
        if element.VR == "TM":
            return
        shift = shifted_date if element.VR == "DA" else shifted_date_time if element.VR == "DT" else None
        moved = [None if shift is None else shift(text, self._days) if text else "" for text in text_of(element)]
        if any(text is None for text in moved):
            self._replace(dataset, element, Act.DUMMY)  # what is no date is treated as without the option
        elif moved:
            element.value = moved if len(moved) > 1 else moved[0]

    def _is_safe_private(self, dataset: Dataset, tag: int) -> bool:
        if not self._options.retain_safe_private:
            return False
        if 0x10 <= tag & 0xFFFF <= 0xFF:
            return (tag >> 16, _creator(dataset, tag)) in SAFE_PRIVATE
        creator = creator_of(tag)
        if creator is None or tag & 0xFF not in SAFE_PRIVATE.get((tag >> 16, _creator(dataset, creator)), ()):
            return False
        return _converted(dataset, tag).VR != "SQ"

    def _sweep(self, dataset: Dataset) -> None:
        """Empty every text in which something of the patient's identity is left, wherever it stands."""
        for place, element in _texts(dataset):
            words = {word.casefold() for text in text_of(element) for word in _words(text)}
            whole = " ".join(text_of(element)).casefold()
            if words & self._identifying or any(len(known) >= 6 and known in whole for known in self._identifying):
                place[element.tag] = DataElement(element.tag, element.VR, "")

    def _say(self, dataset: Dataset) -> None:
        """Say that it was done, and how (PS3.15 E.2, PS3.3 C.7.1.1)."""
        dataset.PatientIdentityRemoved = "YES"
        codes = self._profile.codes()
        dataset.DeidentificationMethod = [f"PS3.15 {meaning}"[:64] for _, meaning in codes]
        items = []
        for value, meaning in codes:
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
            items.append(item)
        dataset.DeidentificationMethodCodeSequence = Sequence(items)
        words = {Dates.REMOVE: "REMOVED", Dates.SHIFT: "MODIFIED", Dates.KEEP: "UNMODIFIED"}
        dataset.LongitudinalTemporalInformationModified = words[self._options.dates]


def _is_known(tag: int) -> bool:
    """Return whether the dictionary has an attribute, those of repeating groups too."""
    return bool(dictionary_has_tag(tag) or keyword_for_tag(tag))


def _converted(dataset: Dataset, tag: int) -> DataElement:
    try:
        return dataset[tag]
    except Exception as error:  # the library raises whatever odd bytes provoke; each such case is one outcome
        raise UnchangeableError(f"{named(tag)} cannot be read: {type(error).__name__}") from error


def _creator(dataset: Dataset, tag: int) -> str:
    return _first(dataset, tag)


def _first(dataset: Dataset, tag: int) -> str:
    found = text_of(_converted(dataset, tag)) if tag in dataset else []
    return found[0].strip() if found else ""


def _drop_lone_creators(dataset: Dataset) -> None:
    tags = [int(tag) for tag in dataset.keys()]  # noqa: SIM118  # as above
    used = {creator_of(tag) for tag in tags}
    for tag in tags:
        if tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF and tag not in used:
            del dataset[tag]


def _texts(dataset: Dataset) -> Iterator[tuple[Dataset, DataElement]]:
    for tag in [int(tag) for tag in dataset.keys()]:  # noqa: SIM118  # as above
        element = _converted(dataset, tag)
        if element.VR == "SQ":
            for item in element.value:
                yield from _texts(item)
        elif element.VR in TEXT or element.VR in ("AE", "CS", "UR"):
            yield dataset, element


def _words(text: str) -> list[str]:
    return [part for part in _PARTS.split(text) if part]


def _identifying(dataset: Dataset) -> Iterator[str]:
    """Yield what names the patient and those around, in lower case: whole identifiers, and the parts of names."""
    for place in _items(dataset):
        for keyword in _PERSONAL:
            element: Any = place.get_item(keyword)
            if element is None:
                continue
            for text in text_of(_converted(place, int(element.tag))):
                for part in {text.strip(), *_words(text)}:
                    if len(part) >= _SHORTEST and part.upper() != "ANONYMIZED":
                        yield part.casefold()


def _items(dataset: Dataset) -> Iterator[Dataset]:
    yield dataset
    for tag in [int(tag) for tag in dataset.keys()]:  # noqa: SIM118  # as above
        if (
            tag >> 16 & 1 == 0
            and dataset.get_item(tag).VR in ("SQ", "UN", None)
            and _converted(dataset, tag).VR == "SQ"
        ):
            for item in dataset[tag].value:
                yield from _items(item)
