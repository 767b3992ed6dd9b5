"""The audit trail: who reached which patient's data, when, from where, and with what outcome (DICOM PS3.15 A.5)."""
