"""Freezes the public names: a change of the API is seen in review."""

import inspect

import tfcompress

PUBLIC = """
ArrayTraining Artifact ClusterConfig CompressionResult Dataset LayerRules PruneConfig
QatConfig Split TfcompressError Training TrainingConfig bert_classifier check_recipe
code_file compress export_model fold_batch_norm load_dataset load_preset parse_recipe
recipe_to_json recipe_to_text to_keras3 to_tf_keras
"""


def test_public_names_are_these():
    assert sorted(tfcompress.__all__) == sorted(PUBLIC.split())


def test_public_names_are_documented():
    for name in tfcompress.__all__:
        assert inspect.getdoc(getattr(tfcompress, name)), name


def test_compress_is_the_function_whatever_is_imported():
    import tfcompress.compress

    assert callable(tfcompress.compress)
