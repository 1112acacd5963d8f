"""The cleaner of the Hermes DICOM router: deletes what is done when its retention has passed."""
