"""Blocks of shared memory: seen by name, gone with their owner, never half there."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import numpy as np
import pytest
from radbus_machines.shared_blocks import SharedBlock, SharedMemoryFullError, attach, is_leftover, remove_leftovers

FOLDER = Path("/dev/shm")


def test_what_one_writes_another_reads_by_the_blocks_name():
    block = SharedBlock(2 * 3 * 4 * 2)
    block.array((2, 3, 4), np.dtype(np.int16))[...] = np.arange(24).reshape(2, 3, 4)

    seen = attach(block.name, (2, 3, 4), np.dtype(np.int16))
    block.remove()

    assert seen[1, 2, 3] == 23
    assert is_leftover(block.name)


def test_arrays_outlive_the_removal_of_their_block():
    block = SharedBlock(8)
    array = block.array((8,), np.dtype(np.uint8))

    block.remove()
    block.remove()
    array[...] = 7

    assert array.tolist() == [7] * 8


def test_a_block_that_does_not_fit_is_refused_at_once_rather_than_at_its_first_use():
    with pytest.raises(SharedMemoryFullError, match="expected room for"):
        SharedBlock(1 << 50)


def test_only_blocks_without_an_owner_are_removed():
    owned, abandoned = SharedBlock(8), SharedBlock(8)
    fcntl.flock(abandoned._file, fcntl.LOCK_UN)
    for block in (owned, abandoned):
        os.utime(FOLDER / block.name, (0, 0))

    removed = remove_leftovers()

    assert removed >= 1
    assert is_leftover(abandoned.name)
    assert not is_leftover(owned.name)
    owned.remove()
    abandoned.remove()
