"""The rules of keras-hub's layers (keras-nlp is another name of it).

keras-hub is an optional extra and slow to import, so that these rules exist only where
the model's maker has imported it already.

`TransformerEncoder` of name `L` becomes, in the order of BERT (`normalize_first` puts
each norm before its block):

    L/query ... L/attention_output     the leaves of `attention_layers`
    L/attention_output_dropout         Dropout
    L/attention_add                    Add, of the input
    L/attention_norm                   LayerNormalization
    L/intermediate                     Dense, and L/intermediate/activation
    L/output                           Dense
    L/output_dropout                   Dropout
    L/output_add                       Add
    L/output_norm                      LayerNormalization
"""

import sys

from tfcompress.bridge import embedding_rules
from tfcompress.bridge.rules import Masked


def keras_hub_rules():
    """Gives the rules of keras-hub's layers, class -> rule; none without keras-hub."""
    keras_hub = sys.modules.get("keras_hub")
    if keras_hub is None:
        return {}
    return {getattr(keras_hub.layers, name): rule for name, rule in _RULES.items()}


def _transformer_encoder(layer, leaves):
    """Makes the leaves of an encoder block: attention, then two dense layers."""
    import tf_keras

    attention = leaves.expand(layer._self_attention_layer, "")
    attention_dropout = leaves.expand(
        layer._self_attention_dropout, "attention_output_dropout"
    )
    attention_add = leaves.add(tf_keras.layers.Add, "attention_add")
    attention_norm = leaves.expand(layer._self_attention_layer_norm, "attention_norm")
    intermediate = leaves.expand(layer._feedforward_intermediate_dense, "intermediate")
    output = leaves.expand(layer._feedforward_output_dense, "output")
    output_dropout = leaves.expand(layer._feedforward_dropout, "output_dropout")
    output_add = leaves.add(tf_keras.layers.Add, "output_add")
    output_norm = leaves.expand(layer._feedforward_layer_norm, "output_norm")

    def call(inputs, return_attention_scores=False, **masks):
        if return_attention_scores:
            raise leaves.unsupported(
                "is called with return_attention_scores=True; without, it can be "
                "compressed"
            )
        x = attention_norm(inputs) if layer.normalize_first else inputs
        x = attention(x, value=x, **masks)
        x = attention_add([attention_dropout(x), inputs])
        if not layer.normalize_first:
            x = attention_norm(x)
        between = x
        if layer.normalize_first:
            x = output_norm(x)
        x = output_add([output_dropout(output(intermediate(x))), between])
        return x if layer.normalize_first else output_norm(x)

    return call


def _token_and_position_embedding(layer, leaves):
    """Makes the two embeddings and their sum, which has the tokens' mask."""
    import tf_keras

    tokens = leaves.expand(layer.token_embedding)
    positions = leaves.expand(layer.position_embedding)
    add = leaves.add(tf_keras.layers.Add, "add")

    def call(inputs, **arguments):
        embedded = tokens(inputs)
        outputs = add([embedded, positions(embedded, **arguments)])
        return Masked(outputs, leaves.mask_of(embedded))

    return call


# Class in keras_hub.layers -> rule.
_RULES = {
    "PositionEmbedding": embedding_rules.position_embedding,
    "ReversibleEmbedding": embedding_rules.reversible_embedding,
    "TokenAndPositionEmbedding": _token_and_position_embedding,
    "TransformerEncoder": _transformer_encoder,
}
