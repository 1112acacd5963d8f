"""The dispatcher of the Hermes DICOM router: sends to targets and proves what arrived."""
