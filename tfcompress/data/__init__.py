"""Datasets on named arrays, with texts at the edge."""

from tfcompress.data.dataset import Dataset, Split
from tfcompress.data.load import load_dataset
from tfcompress.data.tokenizing import tokenize
from tfcompress.data.word_tokenizer import train_word_tokenizer

__all__ = ["Dataset", "Split", "load_dataset", "tokenize", "train_word_tokenizer"]
