"""Text classifier on a BERT-like encoder of keras-nlp."""

from tfcompress.models.presets import load_preset


def bert_classifier(
    preset, num_classes, max_length=128, *, vocabulary=None, dropout=0.1, seed=0
):
    """Builds a classifier: encoder, pooled output or first token, dropout, Dense."""
    return load_preset(preset, vocabulary=vocabulary).build_classifier(
        num_classes, max_length, dropout=dropout, seed=seed
    )


def preset_tokenizer(preset, max_length=128, *, vocabulary=None):
    """Returns the tokenizer that belongs to `bert_classifier` of the same preset."""
    return load_preset(preset, vocabulary=vocabulary).tokenizer(max_length)
