"""Synthetic DICOM, listening on the bus, and waiting, for tests and the demo."""
