"""The router of the Hermes DICOM router: completes series, evaluates the rules and plans deliveries."""
