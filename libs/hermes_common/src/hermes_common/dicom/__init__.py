"""DICOM as values: Part-10 framing, routing header, command sets, PDUs, negotiation, statuses.

Nothing in this package opens a socket or a file, reads a clock or keeps state; :mod:`hermes_common.runtime.dicom`
does the I/O.
"""
