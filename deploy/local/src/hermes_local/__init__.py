"""The all-in-one of the Hermes DICOM router: embedded servers and all services on one machine."""
