"""Tests that structures come back as they were kept."""

import numpy as np

from tfcompress.structure_file import read_structures, write_structures


def test_structures_come_back_with_their_types(tmp_path):
    structures = {
        ("encoder/dense", "kernel"): {
            "codebook": np.float32([-1, 0, 0.5]),
            "scales": np.float16([[1, 2]]),
            "axis": 0,
            "block_size": 64,
        },
        ("embedding", "embeddings"): {"codebook": np.float32([0, 1])},
    }
    write_structures(tmp_path / "row.npz", structures)
    found = read_structures(tmp_path / "row.npz")
    assert list(found) == list(structures)
    for key, structure in structures.items():
        assert list(found[key]) == list(structure)
        for field, value in structure.items():
            assert np.array_equal(found[key][field], value)
            assert np.asarray(found[key][field]).dtype == np.asarray(value).dtype


def test_no_structures_come_back_as_none(tmp_path):
    write_structures(tmp_path / "row.npz", {})
    assert read_structures(tmp_path / "row.npz") == {}
