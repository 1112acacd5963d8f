"""The web interface and HTTP API of the Hermes DICOM router."""
