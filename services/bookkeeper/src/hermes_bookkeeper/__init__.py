"""The bookkeeper of the Hermes DICOM router: turns every event into history in PostgreSQL."""
