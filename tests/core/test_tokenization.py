from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytorch import BPETokenizer, CharTokenizer, Tensor, create_tokenizer
from tinytorch.core.tokenization import Tokenizer, analyze_tokenization, tokenize_dataset
from tinytorch.errors import InvalidValue

CORPUS = ["low lower lowest", "new newer newest\nwide wider widest", "naïve café 日本 🙂"]


def trained(size: int = 300) -> BPETokenizer:
    tokenizer = BPETokenizer(size)
    tokenizer.train(CORPUS)
    return tokenizer


@given(text=st.text())
def test_any_text_survives(text: str) -> None:
    for tokenizer in (CharTokenizer(), BPETokenizer(), trained()):
        numbers = tokenizer.encode(text)
        assert tokenizer.decode(numbers) == text
        assert all(0 < n < tokenizer.vocab_size for n in numbers)


@pytest.mark.parametrize("size", [1, 30, 60, 257, 280, 2000])
def test_the_corpus_survives_at_any_size(size: int) -> None:
    tokenizer = trained(size)
    for text in CORPUS:
        for form in (list, np.array, lambda n: Tensor(n), lambda n: Tensor(n, dtype=np.int64)):
            assert tokenizer.decode(form(tokenizer.encode(text))) == text


def test_pairs_are_joined_most_frequent_first() -> None:
    tokenizer = BPETokenizer()
    tokenizer.train(["aab aab aab ab"], vocab_size=6)
    # Bytes: space, a, b; "ab" 4 times, " a" 3 times, then "aab" ... of equals the smallest.
    assert tokenizer.merges[0] == (b"a", b"b")
    assert tokenizer.decode([tokenizer.encode("ab")[0]]) == "ab"
    assert len(tokenizer.vocab) == 6 and tokenizer.vocab_size == 6


def test_merges_are_those_of_counting_anew() -> None:
    some = ["banana", "bandana", "ananas", "nana", "an", "ban", "sana"]
    words = {w: i + 1 for i, w in enumerate(some)}

    def slowly(count: int) -> list[Any]:
        splits = {w: [bytes([b]) for b in w.encode()] for w in words}
        merges = []
        for _ in range(count):
            counts: dict[Any, int] = {}
            for w, split in splits.items():
                for pair in itertools.pairwise(split):
                    counts[pair] = counts.get(pair, 0) + words[w]
            best = min(counts, key=lambda p: (-counts[p], p), default=None)
            if best is None or counts[best] < 2:
                break
            merges.append(best)
            splits = {w: join(split, best) for w, split in splits.items()}
        return merges

    from tinytorch.core.pairs import join, learn_merges

    assert learn_merges(words, 20) == slowly(20)


def test_training_shortens() -> None:
    few, many = trained(260), trained(400)
    assert sum(map(len, tokenize_dataset(CORPUS, many))) < sum(
        map(len, tokenize_dataset(CORPUS, few))
    )


def test_characters_of_a_vocabulary() -> None:
    tokenizer = CharTokenizer(["a", "b", "c"])
    assert tokenizer.encode("cab") == [3, 1, 2] and tokenizer.vocab_size == 4
    assert tokenizer.encode("x") == [0] and tokenizer.decode([0, 1]) == "<UNK>a"
    tokenizer.build_vocab(["hello"])
    assert tokenizer.decode(tokenizer.encode("hello")) == "hello"
    with pytest.raises(InvalidValue, match="single characters"):
        CharTokenizer(["ab"])


def test_making_one_by_name() -> None:
    assert isinstance(create_tokenizer("char"), CharTokenizer)
    assert isinstance(create_tokenizer("bpe", 300, CORPUS), BPETokenizer)
    assert (
        create_tokenizer(corpus=CORPUS).decode(create_tokenizer(corpus=CORPUS).encode("low"))
        == "low"
    )
    with pytest.raises(ValueError, match="bpe"):
        create_tokenizer("bpee")
    assert issubclass(BPETokenizer, Tokenizer)


@pytest.mark.parametrize("tokenizer", [CharTokenizer(), BPETokenizer()])
def test_what_is_no_text_is_refused(tokenizer: Any) -> None:
    for wrong in (None, 3, b"bytes", ["a"]):
        with pytest.raises(InvalidValue, match="encodes text"):
            tokenizer.encode(wrong)
    assert tokenizer.encode("") == [] and tokenizer.decode([]) == ""
    with pytest.raises(InvalidValue, match="vocab_size"):
        BPETokenizer(0)


def test_datasets_and_figures() -> None:
    tokenizer = CharTokenizer()
    assert tokenize_dataset(["abc", "d"], tokenizer, max_length=2) == [[98, 99], [101]]
    figures = analyze_tokenization(["abc", "d"], tokenizer)
    assert figures == {
        "vocab_size": 257,
        "total_tokens": 4,
        "unique_tokens": 4,
        "avg_sequence_length": 2,
        "max_sequence_length": 3,
        "compression_ratio": 1,
    }
    assert analyze_tokenization([], tokenizer)["total_tokens"] == 0
    with pytest.raises(InvalidValue):
        tokenize_dataset(["a"], tokenizer, max_length=-1)
