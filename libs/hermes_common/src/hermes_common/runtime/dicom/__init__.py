"""DICOM over sockets, every step with a time limit and a size limit: the wire, and the requestor of storage
associations.
"""
