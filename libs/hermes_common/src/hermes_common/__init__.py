"""Contracts and runtime that the services of the Hermes DICOM router share."""
