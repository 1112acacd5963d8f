"""The configuration of Mercure (once called Hermes, too) to rules and targets of ours, with a report.

Pure, and nothing of the old file is ever evaluated: its conditions are read node by node
(:mod:`hermes_common.rules.importer`), everything else as plain values. Whatever the file holds, the answer is what
could be translated and a note for everything else, each with its place.
"""

from hermes_common.mercure.configuration import Imported, NoConfigurationError, import_configuration, read
from hermes_common.mercure.report import Note, Outcome

__all__ = ["Imported", "NoConfigurationError", "Note", "Outcome", "import_configuration", "read"]
