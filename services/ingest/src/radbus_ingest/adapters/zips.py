"""Take archives of instances apart, one entry at a time."""

from __future__ import annotations

from contextlib import closing
from zipfile import ZipInfo

from radbus_dicom.errors import ZipNotValid
from radbus_dicom.zips import BoundedZip, ZipLimits, is_folder

from radbus_ingest.adapters.spool import NewSpool, Spool


class Archive:
    """A zip of instances; all its methods block, so call them in a thread."""

    def __init__(self, spool: Spool, limits: ZipLimits) -> None:
        """Read the directory of a zip.

        Raises:
            ZipNotValid: It is damaged, or holds more than the limits allow.
        """
        self._zip = BoundedZip(spool.file)
        self._zip.check(limits, size_bytes=spool.size_bytes)
        self.entries = [entry for entry in self._zip.entries if not is_folder(entry)]
        self.inflated_bytes = self._zip.inflated_bytes

    def spool(self, entry: ZipInfo, new_spool: NewSpool) -> Spool:
        """Inflate one entry.

        Raises:
            ZipNotValid: It is encrypted, damaged, compressed in an unusual way, or a zip itself.
            OSError: The disk is full.
        """
        spool = new_spool()
        try:
            self._inflate(entry, spool)
            _refuse_zip(spool)
        except BaseException:
            spool.close()
            raise
        return spool

    def _inflate(self, entry: ZipInfo, spool: Spool) -> None:
        with closing(self._zip.blocks(entry)) as blocks:
            for block in blocks:
                spool.write(block)
                if spool.is_too_large:
                    return


def _refuse_zip(spool: Spool) -> None:
    if spool.is_zip():
        raise ZipNotValid("expected instances in the zip, not another zip")
