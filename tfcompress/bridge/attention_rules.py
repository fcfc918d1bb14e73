"""The rule of attention: `keras.layers.MultiHeadAttention` as a row of leaves.

A projection has a kernel of rank 3 there, (D, N, H); as a Dense with the kernel
(D, N * H) every tool for dense layers takes it. `attention_layers` lists the leaves,
their names and the letters.
"""

import math

from tfcompress.bridge.rules import Weight

# Fields that the rule reads, or that have no effect on a layer that is built.
_FIELDS = (
    *("name", "trainable", "dtype", "build_config", "num_heads", "key_dim"),
    *("value_dim", "dropout", "use_bias", "use_gate", "output_shape"),
    *("attention_axes", "seed", "kernel_initializer", "bias_initializer"),
)

# Masks of the shape (batch, keys).
_OF_KEYS = {"padding_mask", "value_mask", "key_mask"}

# What turns each mask into (batch, heads, queries, keys): entries of `get_item`.
_ALL = {"slice": [None, None, None]}
_AXES = {
    "padding_mask": [_ALL, "newaxis", "newaxis"],
    "value_mask": [_ALL, "newaxis", "newaxis"],
    "key_mask": [_ALL, "newaxis", "newaxis"],
    "query_mask": [_ALL, "newaxis", _ALL, "newaxis"],
    "attention_mask": [_ALL, "newaxis"],
    "causal_mask": [_ALL, "newaxis"],
}


def multi_head_attention(layer, leaves):
    """Makes the leaves of a `keras.layers.MultiHeadAttention` on (B, T, D).

    Raises:
        RuleRefusal: if it attends along other axes than the second of three,
            has several output axes, or a sliding window.
    """
    import tf_keras

    from tfcompress.bridge import attention_layers as parts

    _check_attention(layer, leaves)
    query_heads, key_heads, value_heads = (
        _heads(layer, leaves, name) for name in ("query", "key", "value")
    )
    scores = leaves.add(
        parts.AttentionScores, "scores", scale=1.0 / math.sqrt(layer.key_dim)
    )
    softmax = leaves.add(
        tf_keras.layers.Softmax, "softmax", dtype=_dtype(layer, leaves)
    )
    dropout = leaves.add(
        tf_keras.layers.Dropout, "dropout", rate=layer.dropout, seed=layer.seed
    )
    context = leaves.add(parts.AttentionContext, "context")
    output = _output(layer, leaves)

    def call(query, value, key=None, return_attention_scores=False, **masks):
        mask, may_hide_all = _joined_mask(leaves, query, value, key, **masks)
        result = scores([query_heads(query), key_heads(value if key is None else key)])
        if mask is not None:
            result = leaves.once(parts.MaskScores, "masked_scores")([result, mask])
        result = softmax(result)
        if may_hide_all and (layer.dropout > 0.0 or return_attention_scores):
            # Without dropout Keras takes another path, which lacks this step.
            zero = leaves.compute("where", "unmasked", operands=[None, None, 0.0])
            result = zero([mask, result])
        outputs = output(context([dropout(result), value_heads(value)]), query)
        if not return_attention_scores:
            return outputs
        if result.dtype != outputs.dtype:
            cast = leaves.compute("cast", "probabilities", dtype=outputs.dtype.name)
            result = cast(result)
        return outputs, result

    return call


def _dtype(layer, leaves):
    """Gives the softmax' dtype policy: Keras 3 computes it apart without dropout."""
    is_short = layer.compute_dtype in ("float16", "bfloat16")
    return "float32" if is_short and layer.dropout == 0.0 else leaves.dtype


def _check_attention(layer, leaves):
    """Refuses what the leaves do not compute."""
    config = layer.get_config()
    leaves.drop_penalties()
    for field, value in config.items():
        is_read = field in _FIELDS or field.endswith(("_regularizer", "_constraint"))
        if not is_read and value is not None:
            raise leaves.unsupported(
                f"has {field}={value!r}; only {field}=None can be compressed"
            )
    if layer.attention_axes != (1,) or len(layer.query_dense.kernel.shape) != 3:
        raise leaves.unsupported(
            f"has attention_axes={layer.attention_axes!r}; only attention along the "
            "second of three axes, (batch, time, features), can be compressed"
        )
    if len(config["output_shape"] or (1,)) != 1:
        raise leaves.unsupported(
            f"has output_shape={config['output_shape']!r}; one output axis, and a "
            "Reshape after it, can be compressed"
        )


def _heads(layer, leaves, name):
    """Makes the leaves of one projection: (B, T, D) -> (B, N, T, H)."""
    from tfcompress.bridge.attention_layers import SplitHeads

    dense = _projection(leaves, name, getattr(layer, f"{name}_dense"))
    split = leaves.add(SplitHeads, f"{name}_heads", num_heads=layer.num_heads)
    return lambda inputs: split(dense(inputs))


def _projection(leaves, name, einsum, **config):
    """Makes the Dense of a projection to heads."""
    import tf_keras

    size, num_heads, head_size = einsum.kernel.shape
    width = num_heads * head_size
    bias = einsum.bias
    return leaves.add(
        tf_keras.layers.Dense,
        name,
        units=width,
        use_bias=bias is not None,
        weights=[
            Weight(einsum.kernel, shape=(size, width)),
            None if bias is None else Weight(bias, shape=(width,)),
        ],
        **config,
    )


def _output(layer, leaves):
    """Makes the leaves from the heads' context to the output, the gate included."""
    import tf_keras

    from tfcompress.bridge.attention_layers import MergeHeads

    merged = leaves.add(MergeHeads, "merged")
    if layer.get_config()["use_gate"]:
        gate = _projection(leaves, "gate", layer._gate_dense, activation="sigmoid")
        gated = leaves.add(tf_keras.layers.Multiply, "gated")
    else:
        gate = gated = None
    einsum = layer.output_dense
    num_heads, head_size, units = einsum.kernel.shape
    dense = leaves.add(
        tf_keras.layers.Dense,
        "attention_output",
        units=units,
        use_bias=einsum.bias is not None,
        weights=[
            Weight(einsum.kernel, shape=(num_heads * head_size, units)),
            einsum.bias,
        ],
    )

    def call(context, query):
        result = merged(context)
        return dense(result if gate is None else gated([result, gate(query)]))

    return call


def _joined_mask(leaves, query, value, key=None, **masks):
    """Joins all masks of a call by AND, as Keras does.

    Returns:
        The pair of a mask for `MaskScores`, or `None`, and whether it may hide all keys
        from one of several queries.
    """
    found = _masks(leaves, query, value, key, **masks)
    if not found:
        return None, False
    if len(found) == 1 and found.keys() <= _OF_KEYS:
        return next(iter(found.values())), False
    joined = None
    for name, mask in found.items():
        if mask.dtype.name != "bool":
            unequal = leaves.compute("not_equal", f"{name}_bool", operands=[None, 0])
            mask = unequal(mask)
        mask = leaves.compute("get_item", f"{name}_axes", key=_AXES[name])(mask)
        if joined is not None:
            both = leaves.compute(
                "logical_and", f"{name}_joined", operands=[None, None]
            )
            mask = both([joined, mask])
        joined = mask
    by_query = found.keys() - _OF_KEYS
    if "attention_mask" in by_query and found["attention_mask"].shape[1] == 1:
        by_query.remove("attention_mask")
    return joined, bool(by_query) and set(found) != {"causal_mask"}


def _masks(
    leaves,
    query,
    value,
    key,
    *,
    padding_mask=None,  # (batch, keys): a TransformerEncoder's
    value_mask=None,
    key_mask=None,
    attention_mask=None,
    use_causal_mask=False,
    query_mask=None,  # Keras takes the query's own in its place
):
    """Gives the masks of a call by their names, those of `_AXES`."""
    from tfcompress.bridge.attention_layers import CausalMask

    if attention_mask is not None and len(attention_mask.shape) != 3:
        raise leaves.unsupported(
            f"is called with an attention_mask of shape {tuple(attention_mask.shape)}; "
            "with (batch, queries, keys) it can be compressed"
        )
    tensors = {id(tensor): tensor for tensor in (query, value, key)}
    own = {
        name: None if tensor is None else leaves.take_mask(tensor)
        for name, tensor in tensors.items()
    }
    value_mask = own[id(value)] if value_mask is None else value_mask
    key_mask = own[id(key)] if key_mask is None else key_mask
    masks = {
        "padding_mask": padding_mask,
        "value_mask": value_mask,
        "key_mask": None if key_mask is value_mask else key_mask,
        "query_mask": own[id(query)],
        "attention_mask": attention_mask,
    }
    if use_causal_mask:
        masks["causal_mask"] = leaves.once(CausalMask, "causal_mask")([query, value])
    return {name: mask for name, mask in masks.items() if mask is not None}
