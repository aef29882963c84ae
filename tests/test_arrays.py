"""Large arrays are kept once, by content, and come back as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from consilience.arrays import LARGE, apart, together
from consilience.errors import ConsilienceError

WIDE = np.arange(LARGE // 4, dtype=np.float32)


def test_large_arrays_of_two_holders_are_one_file(tmp_path: Path) -> None:
    one = apart({"small": np.ones(3), "wide": WIDE}, tmp_path / "arrays")
    two = apart({"other name": WIDE.copy(), "as doubles": WIDE.astype(np.float64)}, tmp_path / "arrays")
    assert list(one[0]) == ["small"]
    assert len(list((tmp_path / "arrays").iterdir())) == 2
    assert one[1]["wide"] == two[1]["other name"] != two[1]["as doubles"]
    found = together(one[0], one[1], tmp_path / "arrays")
    assert found["wide"].dtype == np.float32
    assert np.array_equal(found["wide"], WIDE)
    assert np.array_equal(found["small"], np.ones(3))


def test_nothing_large_leaves_no_folder(tmp_path: Path) -> None:
    assert apart({"small": WIDE[:-1]}, tmp_path / "arrays")[1] == {}
    assert not (tmp_path / "arrays").exists()


@pytest.mark.parametrize("named", [["a"], {"wide": "../../etc"}, {"wide": 3}, {"wide": "0" * 63}, None])
def test_names_of_files_are_digests(named: object, tmp_path: Path) -> None:
    with pytest.raises(ConsilienceError, match="does not say which arrays it has"):
        together({}, named, tmp_path)


def test_another_array_under_a_name_is_damage(tmp_path: Path) -> None:
    _, large = apart({"wide": WIDE}, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(save({"array": WIDE + 1}))
    with pytest.raises(ConsilienceError, match="is damaged"):
        together({}, large, tmp_path)
