"""Room for a second set of models."""

from pathlib import Path

import pytest
from interlock_server.bundle.load import load_bundle
from interlock_server.errors import BundleError
from interlock_server.reload.memory import _of_group, _of_machine, require_room

from .samples import Files


def size_of(files: Files) -> int:
    return sum((files.path / "bundle" / f"{name}.json").stat().st_size for name in ("alpha", "beta", "gamma"))


def test_models_need_room_for_their_files_so_many_times(files: Files):
    """Exactly as much is enough, and so is not knowing."""
    bundle, size = load_bundle(files.path / "bundle"), size_of(files)
    require_room(bundle, 3.0, 3 * size)
    require_room(bundle, 3.0, None)

    with pytest.raises(BundleError, match="restart instead"):
        require_room(bundle, 3.0, 3 * size - 1)


@pytest.mark.parametrize(("limit", "free"), [("1000", 400), ("500", 0), ("max", None)])
def test_a_control_group_says_what_is_left(tmp_path: Path, limit: str, free: int | None):
    """Unless it has no limit."""
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("600\n")

    assert free == _of_group(tmp_path)
    assert None is _of_group(tmp_path / "nowhere")


def test_a_machine_says_what_is_left(tmp_path: Path):
    """In kibibytes."""
    (tmp_path / "meminfo").write_text("MemTotal:       9 kB\nMemAvailable:       5 kB\n")

    assert 5 * 1024 == _of_machine(tmp_path / "meminfo")
    assert None is _of_machine(tmp_path / "nowhere")
