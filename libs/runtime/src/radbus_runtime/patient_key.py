"""How a patient's inferences are found without a record of who the patient is."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

_PADDING = " \0"  # of PatientID, an LO: PS3.5 6.2


@dataclass(frozen=True, slots=True)
class PatientKeys:
    """Makes the keyed hash of a patient of an institution: nobody without the secret can tell whose it is."""

    secret: bytes = field(repr=False)

    def of_element(self, institution: str, patient_id: object) -> str | None:
        """Return the key of a PatientID as records have it; None where it is absent or empty."""
        if patient_id is None:
            return None
        # A backslash within makes a list of what is one value here.
        text = "\\".join(map(str, patient_id)) if isinstance(patient_id, list) else str(patient_id)
        return self.of(institution, text)

    def of(self, institution: str, patient_id: str) -> str | None:
        """Return the key of a PatientID, whose padding says nothing; None for one that is empty."""
        significant = patient_id.strip(_PADDING)
        if not significant:
            return None
        # An institution's name has no NUL in it, so that no two pairs are spelled alike.
        spelled = f"{institution}\0{significant}".encode(errors="surrogatepass")
        return hmac.new(self.secret, spelled, hashlib.sha256).hexdigest()
