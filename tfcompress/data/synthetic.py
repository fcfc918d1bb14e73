"""Embedded corpus of made-up reviews, for where no real dataset can be had.

Each review holds an odd number of opinions, each a sentence with one positive or
negative word that may be negated, among sentences of meaningless words. The class is
that of the majority of opinions, so the text alone decides it. Then the label of each
example is flipped with probability `LABEL_NOISE`, independently of the text.

Best possible accuracy: `1 - LABEL_NOISE`. A classifier that always finds the class from
the text agrees with the label unless it was flipped; the flips are independent of the
text and rarer than 1/2, so none can do better in expectation.

A bag of words cannot tell which opinion is negated and stays below that.
"""

import dataclasses

import numpy as np

from tfcompress.data.dataset import Split, make_dataset, text_array

NAME = "synthetic_reviews"
CLASS_NAMES = ("negative", "positive")
NUM_TRAIN_EXAMPLES = 20_000
NUM_TEST_EXAMPLES = 5_000
LABEL_NOISE = 0.08
BEST_POSSIBLE_ACCURACY = 1 - LABEL_NOISE
WARNING = (
    "SYNTHETIC DATA: the reviews are made up by a generator, so accuracies say nothing "
    f"about real text. The best possible accuracy is {BEST_POSSIBLE_ACCURACY:.2f}."
)

_POSITIVE_TEXT = """
admirable adorable amazing astonishing beautiful brilliant captivating charming
clever compelling convincing daring delightful elegant enchanting engaging enjoyable
excellent exciting exquisite fabulous fantastic fascinating flawless fresh funny
gorgeous graceful great gripping heartfelt hilarious impressive inspired intelligent
inventive likeable lively lovely magnificent marvelous masterful memorable moving
outstanding perfect playful pleasant poetic powerful refreshing remarkable rewarding
riveting sincere skillful smart splendid stunning sublime superb surprising tender
terrific thoughtful thrilling touching vivid warm wise witty wonderful
"""
POSITIVE_WORDS = tuple(_POSITIVE_TEXT.split())
_NEGATIVE_TEXT = """
abysmal amateurish annoying appalling atrocious awful awkward bad banal bland boring
careless cheap clumsy confusing contrived crude cynical dated depressing dire
disappointing dismal dreadful dreary dull embarrassing empty feeble flat forced
forgettable frustrating generic ghastly hollow horrible inane incoherent inept
insipid irritating laughable lazy lifeless mediocre messy mindless miserable
obnoxious painful pathetic pointless poor predictable pretentious ridiculous sappy
shallow silly sloppy stale stupid tedious terrible tiresome tired ugly uninspired
unbearable wasted weak wooden
"""
NEGATIVE_WORDS = tuple(_NEGATIVE_TEXT.split())
NEGATIONS = ("not", "never", "hardly", "no")

_NOUNS_TEXT = """
acting actor actress camera cast character climax costume dialogue direction
director drama editing ending episode film hero humor lighting movie music opening
pacing performance photography picture plot production romance scene score
screenplay script sequel setting show song sound story style tone villain
"""
_NOUNS = tuple(_NOUNS_TEXT.split())
_TEMPLATES = (
    ("the {noun} was {word}", "the {noun} was not {word}"),
    ("i found the {noun} {word}", "i never found the {noun} {word}"),
    ("what a {word} {noun}", "hardly a {word} {noun}"),
    ("this had a {word} {noun}", "this had no {word} {noun}"),
    ("the {noun} is quite {word} to me", "the {noun} is hardly {word} to me"),
    ("we saw a really {word} {noun}", "we never saw a really {word} {noun}"),
)
_NUM_OPINIONS = (5, 7, 9, 11, 13)
_AGREEMENT = 0.8  # probability that an opinion is of the review's leaning
_NEGATION = 0.1  # probability that an opinion is negated
_NUM_FILLER_WORDS = 12_000
_FILLER_LENGTHS = (0, 13)  # words of a filler sentence, end excluded
_SYLLABLES = tuple(first + second for first in "bdfgklmnprstvz" for second in "aeiou")
_SEED = 2026


def synthetic_reviews(options):
    """Makes the embedded corpus: the same texts on every machine.

    Args:
        options: `SplitOptions`; its seed cuts the validation split and does not change
            the texts.
    Returns:
        `Dataset` of source `"synthetic"`, with 20,000 examples in train and validation
        together and 5,000 in test.
    """
    # RandomState's stream is frozen for good, that of Generator may change.
    random = np.random.RandomState(_SEED)
    texts, labels = _make_reviews(NUM_TRAIN_EXAMPLES + NUM_TEST_EXAMPLES, random)
    split = Split({"text": text_array(texts)}, labels)
    dataset = make_dataset(
        NAME,
        "synthetic",
        split.select(slice(NUM_TRAIN_EXAMPLES)),
        split.select(slice(NUM_TRAIN_EXAMPLES, None)),
        CLASS_NAMES,
        options,
    )
    return dataclasses.replace(dataset, warning=WARNING)


def _make_reviews(count, random):
    """Returns `count` texts and their int labels, flips included."""
    num_opinions = np.take(_NUM_OPINIONS, _integers(random, len(_NUM_OPINIONS), count))
    review = np.repeat(np.arange(count), num_opinions)
    leaning = random.random_sample(count) < 0.5
    agrees = random.random_sample(len(review)) < _AGREEMENT
    is_positive = leaning[review] == agrees
    num_positive = np.bincount(review, weights=is_positive, minlength=count)
    classes = 2 * num_positive > num_opinions
    flipped = random.random_sample(count) < LABEL_NOISE
    sentences = _make_opinions(is_positive, random)
    fillers = _make_fillers(len(review), random)
    ends = _choices(random, (". ", "! ", ".<br /><br />"), len(review))
    pieces = [
        f"{opinion}{end}{filler}"
        for opinion, end, filler in zip(sentences, ends, fillers, strict=True)
    ]
    stops = np.cumsum(num_opinions)
    texts = [
        "".join(pieces[stop - size : stop]).rstrip()
        for stop, size in zip(stops.tolist(), num_opinions.tolist(), strict=True)
    ]
    return texts, classes ^ flipped


def _make_opinions(is_positive, random):
    """Returns a sentence, without its full stop, for each opinion."""
    count = len(is_positive)
    is_negated = random.random_sample(count) < _NEGATION
    positive = _choices(random, POSITIVE_WORDS, count)
    negative = _choices(random, NEGATIVE_WORDS, count)
    templates = _choices(random, range(len(_TEMPLATES)), count)
    nouns = _choices(random, _NOUNS, count)
    return [
        _TEMPLATES[template][negated]
        .format(noun=noun, word=good if wanted != negated else bad)
        .capitalize()
        for wanted, negated, good, bad, template, noun in zip(
            is_positive.tolist(),
            is_negated.tolist(),
            positive,
            negative,
            templates,
            nouns,
            strict=True,
        )
    ]


def _make_fillers(count, random):
    """Returns for each opinion a sentence of meaningless words, or an empty text."""
    low, high = _FILLER_LENGTHS
    lengths = low + _integers(random, high - low, count)
    stops = np.cumsum(lengths)
    # Word frequencies fall like those of a language (Zipf), in exact integers: sums of
    # floats could differ between machines.
    weights = [10**9 // (rank + 10) for rank in range(_NUM_FILLER_WORDS)]
    cumulative = np.cumsum(np.array(weights, dtype=np.int64))
    draws = _integers(random, int(cumulative[-1]), int(stops[-1]))
    ranks = np.searchsorted(cumulative, draws, side="right")
    words = np.array(_filler_words(), dtype=object)[ranks].tolist()
    return [
        f"{' '.join(words[stop - size : stop]).capitalize()}. " if size else ""
        for stop, size in zip(stops.tolist(), lengths.tolist(), strict=True)
    ]


def _filler_words():
    """Returns distinct words of three syllables, in no recognizable order."""
    base = len(_SYLLABLES)
    # A factor prime to the number of combinations visits each at most once.
    codes = [index * 7919 % base**3 for index in range(_NUM_FILLER_WORDS)]
    return [
        _SYLLABLES[code // base**2]
        + _SYLLABLES[code // base % base]
        + _SYLLABLES[code % base]
        for code in codes
    ]


def _choices(random, values, count):
    """Draws `count` of `values`, as a list."""
    indices = _integers(random, len(values), count).tolist()
    return [values[index] for index in indices]


def _integers(random, stop, count):
    """Draws `count` integers in [0, stop)."""
    # One double each, scaled: the same on every platform, whatever its C long is.
    return (random.random_sample(count) * stop).astype(np.int64)
