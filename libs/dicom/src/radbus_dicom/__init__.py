"""Reading, checking and making DICOM."""
