"""The lock of the embedded database belongs to the file, whatever path leads to it."""

from pathlib import Path

import pytest

from orchestrator.domain.errors import DatabaseBusy
from orchestrator.runtime.data_directory import sole_use
from orchestrator.store.database import DatabaseOptions


def options(path: Path) -> DatabaseOptions:
    return DatabaseOptions(f"sqlite:///{path}")


def refuse(path: Path) -> None:
    with pytest.raises(DatabaseBusy, match=f"another server uses {path};"), sole_use(options(path)):
        pass


@pytest.mark.parametrize("exists", [True, False])
def test_one_server_at_a_time_through_whatever_path(tmp_path: Path, exists: bool) -> None:
    file = tmp_path / "real" / "orchestrator.db"
    file.parent.mkdir()
    if exists:
        file.touch()
    link, detour = tmp_path / "link.db", tmp_path / "directory"
    link.symlink_to(file)
    detour.symlink_to(file.parent)
    paths = [file, link, detour / "orchestrator.db"]
    for held in paths:
        with sole_use(options(held)):
            for other in paths:
                refuse(other)


def test_another_file_is_free(tmp_path: Path) -> None:
    with sole_use(options(tmp_path / "a.db")), sole_use(options(tmp_path / "b.db")):
        pass
