"""The receiver of the Hermes DICOM router: takes instances from scanners and makes them durable."""
