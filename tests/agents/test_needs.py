"""What a worker needs before it starts."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from streams.agents import needs


def test_a_disk_without_room_is_named_before_anything_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs.room(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=needs.LEAST_ROOM - 1))
    with pytest.raises(needs.Unavailable, match="DOORWARD_DATA: 31 MiB are free"):
        needs.room(tmp_path)


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(needs.Unavailable, match="DOORWARD_DATA"):
        needs.room(tmp_path / "file" / "data")
