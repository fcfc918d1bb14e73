"""Freezes the public names: a change of the API is seen in review."""

import importlib.resources
import inspect

import pytest

import tfcompress
from tfcompress import quantizers, tasks

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


def public_functions():
    """Yields (name, function) of the public functions and methods."""
    for module in (tfcompress, tasks, quantizers):
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value):
                yield f"{module.__name__}.{name}", value
            members = vars(value) if inspect.isclass(value) else {}
            for member, function in members.items():
                function = getattr(function, "__func__", function)
                function = getattr(function, "fget", function)
                if inspect.isfunction(function) and not member.startswith("_"):
                    yield f"{module.__name__}.{name}.{member}", function


@pytest.mark.parametrize(("name", "function"), public_functions())
def test_public_functions_have_type_hints(name, function):
    signature = inspect.signature(function)
    empty = inspect.Signature.empty
    names = [
        each.name
        for each in signature.parameters.values()
        if each.annotation is empty and each.name not in ("self", "cls")
    ]
    assert not names
    assert signature.return_annotation is not empty


def test_package_says_that_it_is_typed():
    package = importlib.resources.files("tfcompress")
    assert package.joinpath("py.typed").is_file()
