"""DICOMweb: what comes in over HTTP."""
