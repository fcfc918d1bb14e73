"""Inputs without a name of their own: the files and their description agree."""

import keras
import numpy as np
import pytest

from tfcompress.export import export_model
from tfcompress.formats import FORMATS
from tfcompress.runtime import load_session


@keras.saving.register_keras_serializable("tests")
class Backbone(keras.Model):
    """Functional, but built anew by its own config each time it is loaded."""

    def __init__(self, units, **kwargs):
        inputs = keras.Input((3,))
        outputs = keras.layers.Dense(units, name="end")(inputs)
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        self.units = units

    def get_config(self):
        return {"units": self.units, "name": self.name}


def functional():
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Dense(2, name="end")(inputs))


def sequential():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="end")])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("make", [functional, sequential, lambda: Backbone(2)])
def test_export_input_without_a_name_is_called_the_same_at_each_load(
    make, format, tmp_path
):
    model = make()
    exported = export_model(model, format, tmp_path)
    (spec,) = exported.inputs
    features = np.float32([[1, 2, 3], [0, -1, 0]])
    for _ in range(2):
        with load_session(format, tmp_path, exported.files) as session:
            assert [each.name for each in session.inputs] == [spec.name]
            (found,) = session.run({spec.name: features}).values()
        np.testing.assert_allclose(found, model(features), atol=1e-5)
