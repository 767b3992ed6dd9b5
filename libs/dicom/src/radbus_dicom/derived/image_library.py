"""Make the image library of an SR (PS3.16 TID 1600): the images that the report is about, findable without the SEG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as PydicomCode

_SOURCE: Final = PydicomCode("260753009", "SCT", "Source")
_MODALITIES: Final = {code.value: code for code in codes.cid33.concepts.values()}  # CID 33


def make_image_library(images: Sequence[Dataset]) -> hd.sr.ContainerContentItem:
    """Return the library of the headers of `images`: one group, what they share said once (TID 1602), then each.

    highdicom's own library repeats plane and spacing for every image, and fails on headers that lack one of them.
    """
    group = _container(codes.DCM.ImageLibraryGroup)
    group.ContentSequence.extend(_shared_descriptors(images[0]))
    group.ContentSequence.extend(
        hd.sr.ImageContentItem(
            name=_SOURCE,
            referenced_sop_class_uid=image.SOPClassUID,
            referenced_sop_instance_uid=image.SOPInstanceUID,
            relationship_type=hd.sr.RelationshipTypeValues.CONTAINS,
        )
        for image in images
    )
    library = _container(codes.DCM.ImageLibrary)
    library.ContentSequence.append(group)
    return library


def _shared_descriptors(image: Dataset) -> Iterator[hd.sr.ContentItem]:
    acquired = hd.sr.RelationshipTypeValues.HAS_ACQ_CONTEXT
    modality = _MODALITIES.get(str(image.get("Modality")))
    if modality is None:  # a group has descriptors with a modality, or none
        return
    yield hd.sr.CodeContentItem(codes.DCM.Modality, modality, acquired)
    if reference := image.get("FrameOfReferenceUID"):
        yield hd.sr.UIDRefContentItem(codes.DCM.FrameOfReferenceUID, reference, acquired)


def _container(name: PydicomCode) -> hd.sr.ContainerContentItem:
    container = hd.sr.ContainerContentItem(name, relationship_type=hd.sr.RelationshipTypeValues.CONTAINS)
    container.ContentSequence = hd.sr.ContentSequence()
    return container
