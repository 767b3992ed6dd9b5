"""Keep pydicom and highdicom from printing element values, which may be patient data, to logs and stderr."""

from __future__ import annotations

import logging
import warnings

import pydicom.config


def silence_pydicom() -> None:
    """Stop value validation on reading and the messages that quote values; once per interpreter, at import.

    `warnings.catch_warnings` around each read would not be safe with threads; a filter set once is.
    """
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    for name in ("pydicom", "highdicom"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
    # Warnings are told of the caller's module: theirs, or ours where theirs was called directly.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"(pydicom|highdicom|radbus_dicom)(\.|$)")
