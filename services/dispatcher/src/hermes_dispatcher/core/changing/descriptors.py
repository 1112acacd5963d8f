"""Cleaning of descriptions: words that are known to be harmless stay, every other one goes (PS3.15 E.3.4)."""

import re
from collections.abc import Collection
from typing import Final

_WORD: Final = re.compile(r"[^\W_]+(?:\.[0-9]+)?")
_NUMBERS_TOGETHER: Final = re.compile(r"\S*[0-9][-/:][0-9]\S*|\S*[0-9]\.[0-9]+\.\S*")
"""As in dates, times and telephone numbers."""
_SHORT_NUMBER: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,2})?(?:mm|cm|ms|s|min|kv|ma)?|[tbxyz][0-9]{1,4}|[0-9]d")

_HARMLESS: Final = """
    ct mr mri mra mrv us xa xr cr dx mg nm pt pet spect rf dsa cta sc ot dce dti dwi adc fmri bold asl swi csi mrs mrcp
    abdomen abdominal ankle aorta aortic arch arm artery arteries biliary bladder bone brachial brain breast bronchial
    calcaneus cardiac carotid cervical chest circle clavicle coccyx colon coronary cranial disc ear elbow esophagus eye
    face facial femoral femur fetal fetus fibula finger foot forearm fossa gallbladder gland groin hand head heart hip
    humerus iliac internal ear intracranial jaw joint kidney kidneys knee larynx leg legs liver lower lumbar lung lungs
    mandible mastoid maxilla mediastinum middle muscle nasal neck nerve orbit orbits ovary palate pancreas parotid
    pelvic pelvis penis pericardium pharynx pituitary placenta plexus posterior portal prostate pulmonary radius rectum
    renal rib ribs sacrum scapula scrotum sella shoulder sinus sinuses skull small spine spleen stomach sternum temporal
    testis thigh thoracic thorax thumb thymus thyroid tibia toe tongue trachea trunk ulna upper urinary uterus vein
    veins vertebra vessel vessels wrist whole body
    axial ax sagittal sag coronal cor oblique obl transverse tra lateral lat ap pa anterior inferior superior left right
    bilateral both prone supine standing erect decubitus
    t1 t2 t1w t2w pd pdw flair stir spair dixon fse tse se gre ge epi ssfse haste vibe space mprage bravo tof fiesta
    trufi ciss fatsat fat fs water suppressed sat weighted weighting map maps trace phase magnitude sense grappa 2d 3d
    4d cine perfusion diffusion angio angiography angiogram venography localizer localiser loc scout survey topogram
    scanogram reference calibration calib test
    pre post with without contrast enhanced unenhanced native plain iv oral gd gado gadolinium bolus arterial delayed
    early late venous dynamic static rest stress gated gating breath hold free breathing inspiration expiration
    recon reconstruction reformat reformatted mpr mip minip vr vrt thick thin slice slices soft hard tissue kernel
    window standard sharp smooth lung high low resolution hires routine protocol study series scan scans image images
    view views follow up followup screening baseline control emergency trauma stroke tumor tumour staging dose report
    and of the in on to for from by or not no
    """
KNOWN: Final = frozenset(_HARMLESS.split())
"""Words of radiology that name nobody."""


def cleaned(text: str, more: Collection[str], identifying: Collection[str]) -> str:
    """Return a description of which only known words and short numbers are left, separated by single spaces.

    ``more`` are further words that may stay; a word of ``identifying`` (in lower case) goes, whatever it is.
    """
    allowed = {word.lower() for word in more}
    kept = []
    for word in _WORD.findall(_NUMBERS_TOGETHER.sub(" ", text)):
        lower = word.lower()
        if lower not in identifying and (lower in KNOWN or lower in allowed or _SHORT_NUMBER.fullmatch(lower)):
            kept.append(word)
    return " ".join(kept)
