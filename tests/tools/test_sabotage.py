"""The list of sabotages keeps up with the code; `make sabotage` then shows that each turns the tests red."""

import shutil

import pytest

from tools.sabotage import ROOT, SABOTAGES, apply


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda one: one.name.replace(" ", "_"))
def test_a_sabotage_still_applies(sabotage, tmp_path):
    """Its text stands once in its file, what it becomes is Python, and the tests that must notice exist."""
    path = tmp_path / sabotage.file
    path.parent.mkdir(parents=True)
    shutil.copy(ROOT / sabotage.file, path)
    apply(sabotage, tmp_path)

    if path.suffix == ".py":
        compile(path.read_text(), sabotage.file, "exec")
    for test in sabotage.tests:
        file, _, name = test.partition("::")
        assert (ROOT / file).exists()
        assert not name or f"def {name}(" in (ROOT / file).read_text()


def test_a_sabotage_that_does_not_apply_is_an_error(tmp_path):
    """Text that is gone, or stands twice, would break nothing, or something else."""
    sabotage = SABOTAGES[0]
    path = tmp_path / sabotage.file
    path.parent.mkdir(parents=True)
    for text in ("", sabotage.old * 2):
        path.write_text(text)
        with pytest.raises(ValueError, match="must be once"):
            apply(sabotage, tmp_path)


def test_the_list_breaks_every_part():
    """Schemas, core, engine and settings, a dozen at least; the names say which is which."""
    files = {sabotage.file for sabotage in SABOTAGES}

    assert len(SABOTAGES) >= 12
    assert len({sabotage.name for sabotage in SABOTAGES}) == len(SABOTAGES)
    for part in ("schemas/", "stream/core/", "stream/engine/", "stream/settings/"):
        assert any(file.startswith(part) for file in files), part
