"""Holds the direction of imports: down only, as the package's layers are drawn."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# From top to bottom; modules of one line do not import each other.
LAYERS = [
    {"experiments"},
    {"runner"},
    {"compress", "report"},
    {"folding", "recipe", "export", "quantizers", "coding", "evaluate"},
    {"methods", "bridge", "artifact", "verification"},
    {"manifest"},
    {"runtime"},
    {"models"},  # above data: a preset holds a network and its tokenizer
    {"data", "training"},
    {
        "layer_rules",
        "compression_report",
        "record",
        "activation_ranges",
        "keras_archive",
    },
    {"tasks"},  # below record, which reads the quality of older ones
    {"formats"},
    {"atomic", "entry_point", "foreign", "limits", "processes"},
    {"settings"},
    {"errors", "telemetry"},
]
RANK = {module: rank for rank, layer in enumerate(LAYERS) for module in layer}
# Classes of layers need their base class; the module is imported
# inside functions alone.
DEFINES_LAYERS = {
    ROOT / "tfcompress" / "bridge" / "application_layers.py",
    ROOT / "tfcompress" / "bridge" / "attention_layers.py",
    ROOT / "tfcompress" / "bridge" / "kept_layer.py",
    ROOT / "tfcompress" / "bridge" / "leaf_layers.py",
}
HEAVY = {
    "tensorflow",
    "tf_keras",
    "keras",
    "tensorflow_model_optimization",
    "tensorflow_datasets",
    "onnx",
    "onnxruntime",
    "openvino",
    "tf2onnx",
    "ai_edge_litert",
    "keras_nlp",
    "keras_hub",
    "tensorflow_text",
    "safetensors",
    "h5py",
    "huggingface_hub",
    "kagglehub",
    "pyarrow",
    "nncf",
    "ai_edge_quantizer",
    "sklearn",
    "jax",
    "pynvml",
}


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[0] == "experiments" else parts[1]


def sources():
    return [
        path
        for folder in ("tfcompress", "experiments")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != ROOT / "tfcompress" / "__init__.py"  # re-exports from everywhere
    ]


def imported_names(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path):
    importer = module_of(path)
    assert importer in RANK, f"{importer} has no place in LAYERS"
    for name in imported_names(ast.parse(path.read_text("utf-8"))):
        package, *rest = name.split(".")
        if package not in ("tfcompress", "experiments") or not rest:
            continue
        imported = package if package == "experiments" else rest[0]
        if imported == importer:
            continue
        assert imported in RANK, f"{path}: {name} has no place in LAYERS"
        assert RANK[importer] < RANK[imported], f"{path}: {name} is not below"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_packages_are_imported_inside_functions(path):
    tree = ast.parse(path.read_text("utf-8"))
    at_top = ast.Module(body=list(_outside_functions(tree)), type_ignores=[])
    packages = {name.split(".")[0] for name in imported_names(at_top)}
    assert not packages & HEAVY or path in DEFINES_LAYERS


def _outside_functions(tree):
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            if isinstance(node, ast.stmt) and not isinstance(node, ast.ClassDef):
                yield node
            yield from _outside_functions(node)


def test_importing_the_package_loads_nothing_heavy():
    code = f"import sys, tfcompress; print(*(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
