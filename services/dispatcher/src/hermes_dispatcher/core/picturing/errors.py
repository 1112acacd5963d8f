"""Why a data set has no picture."""

from hermes_common.thumbnails import NoPicture


class NoPictureError(Exception):
    """The message is for people, and quotes nothing of the data set but its UIDs."""

    def __init__(self, why: NoPicture, reason: str) -> None:
        super().__init__(reason)
        self.why = why
