"""What a worker needs before it starts."""

import os
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


@pytest.mark.parametrize("taken", ["data", "data/worker", "data/worker/faust"])
def test_a_data_folder_that_cannot_be_written_to_is_named(tmp_path: Path, taken: str) -> None:
    """By a file where a folder should be: that stops every user, root as well."""
    (tmp_path / taken).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / taken).write_text("")
    folder = tmp_path / "data" / "worker"
    with pytest.raises(needs.Unavailable) as refused:
        needs.room(folder)
    assert str(refused.value).startswith(f"DOORWARD_DATA: cannot write to {folder}: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_folder_of_somebody_elses_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(needs.Unavailable, match="Permission denied"):
        needs.room(tmp_path)
