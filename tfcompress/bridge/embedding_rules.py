"""The rules of embeddings that do more than look ids up."""

from tfcompress.bridge import mask_rules


def reversible_embedding(layer, leaves):
    """Makes the leaf of an embedding that may also project back to its ids.

    The projection takes the table out of the one leaf that has it, which is called with
    all ids: with a Dense of its own the two would drift apart.

    Raises:
        UnsupportedModelError: if the projection has a weight of its own.
    """
    import tf_keras

    from tfcompress.bridge.attention_layers import AllIds

    if not layer.tie_weights:
        raise leaves.unsupported(
            "has tie_weights=False; an Embedding, and a Dense for the projection back, "
            "can be compressed"
        )
    leaves.drop_penalties()
    table = leaves.add(
        tf_keras.layers.Embedding,
        input_dim=layer.input_dim,
        output_dim=layer.output_dim,
        weights=[layer.embeddings],
    )
    embed = mask_rules.embedding(layer, leaves, table)

    def call(inputs, reverse=False):
        if not reverse:
            return embed(inputs)
        _check_reverse(layer, leaves)
        ids = leaves.once(AllIds, "all_ids", size=layer.input_dim)(inputs)
        project = leaves.compute(
            "matmul", "reverse", operands=[None, None], transpose_b=True
        )
        return project([inputs, table(ids)])

    return call


def _check_reverse(layer, leaves):
    """Refuses what the projection back does not compute."""
    for field in ("reverse_dtype", "logit_soft_cap"):
        value = getattr(layer, field)
        if value is not None:
            raise leaves.unsupported(
                f"has {field}={value!r} and is called with reverse=True; only "
                f"{field}=None can be compressed"
            )


def position_embedding(layer, leaves):
    """Makes an Embedding whose ids are the positions, for sequences of any length."""
    import tf_keras

    from tfcompress.bridge.attention_layers import Positions

    table = leaves.add(
        tf_keras.layers.Embedding,
        input_dim=layer.sequence_length,
        output_dim=layer.position_embeddings.shape[-1],
        weights=[layer.position_embeddings],
    )

    def call(inputs, start_index=0, positions=None):
        if positions is not None or start_index != 0:
            raise leaves.unsupported(
                "is called with start_index or positions; an Embedding that looks them "
                "up can be compressed"
            )
        return table(leaves.once(Positions, "positions")(inputs))

    return call
