"""The checks of `hermes doctor`, in the order in which they are shown."""

from hermes_cli.doctor.bus import check_bus
from hermes_cli.doctor.finding import Check
from hermes_cli.doctor.machine import check_disk, check_home, check_python, check_versions
from hermes_cli.doctor.servers import check_database, check_dicom, check_object_store, check_web
from hermes_cli.doctor.tls import check_tls

CHECKS: tuple[tuple[str, Check], ...] = (
    ("python", check_python),
    ("versions", check_versions),
    ("home", check_home),
    ("disk", check_disk),
    ("web", check_web),
    ("dicom", check_dicom),
    ("dicom tls", check_tls),
    ("bus", check_bus),
    ("object store", check_object_store),
    ("database", check_database),
)

__all__ = ["CHECKS"]
