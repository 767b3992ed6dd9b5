"""Private folders: gone with their task, and with their worker at the latest when the next one starts."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from pathlib import Path

import pytest
from radbus_worker.adapters.scratch import private_folder, remove_leftover_folders


async def test_a_folder_is_private_and_gone_at_the_end_even_after_an_error(tmp_path):
    seen = []

    async def use() -> None:
        async with private_folder(tmp_path) as folder:
            (folder / "00001.dcm").write_bytes(b"pixels")
            seen.append(stat.S_IMODE(folder.stat().st_mode))
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        await use()

    assert seen == [0o700]
    assert list(tmp_path.iterdir()) == []


async def test_only_folders_that_nobody_holds_are_removed(tmp_path):
    abandoned = tmp_path / "radbus-task-abandoned"
    abandoned.mkdir()
    (abandoned / "00001.dcm").write_bytes(b"pixels")
    (tmp_path / "somebody-elses").mkdir()
    os.utime(abandoned, (0, 0))

    async with private_folder(tmp_path) as folder:
        os.utime(folder, (0, 0))
        removed = remove_leftover_folders(tmp_path)
        left = {path.name for path in tmp_path.iterdir()}

    assert removed == 1
    assert left == {folder.name, "somebody-elses"}


async def test_a_download_that_was_abandoned_and_still_writes_leaves_nothing_behind(tmp_path):
    async with private_folder(tmp_path) as folder:
        begun = threading.Event()
        writer = threading.Thread(target=_write_while_it_is_there, args=(folder, begun))
        writer.start()
        begun.wait(5)

    writer.join(5)
    assert list(tmp_path.iterdir()) == []


def _write_while_it_is_there(folder: Path, begun: threading.Event) -> None:
    with contextlib.suppress(FileNotFoundError):
        for number in range(20_000):
            (folder / f"{number:05d}.dcm.part").write_bytes(b"pixels")
            begun.set()
