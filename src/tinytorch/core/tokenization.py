"""Tokenizers: text becomes numbers, and numbers become the same text."""

from __future__ import annotations

import abc
import itertools
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tinytorch.core.pairs import join, learn_merges
from tinytorch.errors import InvalidValue, UnknownName

__all__ = [
    "BPETokenizer",
    "CharTokenizer",
    "Tokenizer",
    "analyze_tokenization",
    "create_tokenizer",
    "tokenize_dataset",
]

UNKNOWN = "<UNK>"
_WORDS = re.compile(r"\s?\S+|\s+")  # a word with the space before it, or a run of spaces


def _numbers(tokens: Any) -> list[int]:
    """Return token numbers as a flat list of ints, from a list, an array or a Tensor."""
    flat = tokens.tolist() if hasattr(tokens, "tolist") else tokens
    return [int(t) for t in ([flat] if isinstance(flat, int | float) else flat)]


def _text(text: Any) -> str:
    if not isinstance(text, str):
        raise InvalidValue(f"a tokenizer encodes text, got {type(text).__name__}")
    return text


class Tokenizer(abc.ABC):
    """Text to token numbers and back."""

    @abc.abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the text's token numbers."""

    @abc.abstractmethod
    def decode(self, tokens: Any) -> str:
        """Return the text of token numbers (a list, an array or a Tensor)."""


class CharTokenizer(Tokenizer):
    """A token a character; 0 stands for characters that are not in the vocabulary.

    Without a vocabulary the tokens are the 256 bytes of UTF-8, so that any text survives.
    """

    def __init__(self, vocab: Iterable[str] | None = None) -> None:
        """Take characters as the vocabulary, in their order."""
        self.vocab: list[str] = []
        self._of: dict[str, int] = {}
        self._bytes = vocab is None
        if vocab is not None:
            self._use(vocab)

    def _use(self, characters: Iterable[str]) -> None:
        chosen = [c for c in dict.fromkeys(characters) if c != UNKNOWN]
        if any(not isinstance(c, str) or len(c) != 1 for c in chosen):
            raise InvalidValue("CharTokenizer's vocab is made of single characters")
        self._bytes = False
        self.vocab = [UNKNOWN, *chosen]
        self._of = {c: i for i, c in enumerate(self.vocab)}

    def build_vocab(self, corpus: Iterable[str]) -> None:
        """Take every character of some texts as the vocabulary, sorted."""
        texts = [corpus] if isinstance(corpus, str) else corpus
        self._use(sorted({c for text in texts for c in _text(text)}))

    @property
    def vocab_size(self) -> int:
        """How many token numbers there are."""
        return 257 if self._bytes else len(self.vocab)

    def encode(self, text: str) -> list[int]:
        """Return a number for each character (each byte, without a vocabulary)."""
        if self._bytes:
            return [1 + byte for byte in _text(text).encode()]
        return [self._of.get(c, 0) for c in _text(text)]

    def decode(self, tokens: Any) -> str:
        """Return the text; numbers that are none stand for an unknown character."""
        numbers = _numbers(tokens)
        if self._bytes:
            known = bytes(n - 1 for n in numbers if 1 <= n <= 256)
            return known.decode(errors="replace")
        return "".join(self.vocab[n] if 0 <= n < len(self.vocab) else UNKNOWN for n in numbers)


class BPETokenizer(Tokenizer):
    """Byte-pair encoding: frequent neighbours become one token (Sennrich et al., 2016).

    Over the bytes of UTF-8, within words. With room for all 256 bytes (a vocab_size of 257 or
    more), any text survives; with less, texts made of the corpus's characters do, and 0 stands for
    others. The corpus's own bytes are always in the vocabulary.
    """

    def __init__(self, vocab_size: int = 1000) -> None:
        """Start with bytes only, until `train`."""
        if not isinstance(vocab_size, int) or vocab_size < 1:
            raise InvalidValue(f"vocab_size must be an int of at least 1, got {vocab_size!r}")
        self.vocab_size = vocab_size
        self.merges: list[tuple[bytes, bytes]] = []
        self._start([bytes([b]) for b in range(256)])

    def _start(self, alphabet: list[bytes]) -> None:
        self.vocab: list[bytes] = [UNKNOWN.encode(), *alphabet]
        self._of = {token: i for i, token in enumerate(self.vocab)}
        self._rank: dict[tuple[bytes, bytes], int] = {}
        self._words: dict[str, list[int]] = {}

    def train(self, corpus: Iterable[str], vocab_size: int | None = None) -> None:
        """Learn merges from texts until the vocabulary is full, or no pair occurs twice."""
        texts = [corpus] if isinstance(corpus, str) else list(corpus)
        if vocab_size is not None:
            BPETokenizer(vocab_size)
            self.vocab_size = vocab_size
        words = Counter(word for text in texts for word in _WORDS.findall(_text(text)))
        seen = sorted({byte for word in words for byte in word.encode()})
        alphabet = range(256) if self.vocab_size >= 257 else seen
        self._start([bytes([b]) for b in alphabet])
        room = max(0, self.vocab_size - len(self.vocab))
        self.merges = learn_merges(words, room)
        self._rank = {pair: i for i, pair in enumerate(self.merges)}
        for left, right in self.merges:
            if left + right not in self._of:
                self._of[left + right] = len(self.vocab)
                self.vocab.append(left + right)

    def encode(self, text: str) -> list[int]:
        """Return the text's token numbers."""
        return [n for word in _WORDS.findall(_text(text)) for n in self._word(word)]

    def _word(self, word: str) -> list[int]:
        known = self._words.get(word)
        if known is None:
            parts = [bytes([b]) for b in word.encode()]
            while len(parts) > 1:
                ranks = [
                    self._rank.get(pair, len(self._rank)) for pair in itertools.pairwise(parts)
                ]
                best = min(ranks)
                if best == len(self._rank):
                    break
                parts = join(parts, self.merges[best])
            known = [self._of.get(part, 0) for part in parts]
            if len(self._words) < 100_000:
                self._words[word] = known
        return known

    def decode(self, tokens: Any) -> str:
        """Return the text."""
        known = (self.vocab[n] for n in _numbers(tokens) if 0 <= n < len(self.vocab))
        return b"".join(known).decode(errors="replace")


def create_tokenizer(
    strategy: str = "char", vocab_size: int = 1000, corpus: Iterable[str] | None = None
) -> Tokenizer:
    """Return a "char" or "bpe" tokenizer, trained on a corpus if one is given."""
    texts = [corpus] if isinstance(corpus, str) else corpus
    if strategy == "char":
        characters = CharTokenizer()
        if texts is not None:
            characters.build_vocab(texts)
        return characters
    if strategy == "bpe":
        pairs = BPETokenizer(vocab_size)
        if texts is not None:
            pairs.train(texts)
        return pairs
    raise UnknownName("tokenizer", strategy, ("char", "bpe"))


def tokenize_dataset(
    texts: Iterable[str], tokenizer: Tokenizer, max_length: int | None = None
) -> list[list[int]]:
    """Return each text's token numbers, cut to `max_length` of them."""
    if max_length is not None and max_length < 0:
        raise InvalidValue(f"max_length must be at least 0, got {max_length!r}")
    return [tokenizer.encode(text)[:max_length] for text in texts]


def analyze_tokenization(texts: Iterable[str], tokenizer: Tokenizer) -> dict[str, Any]:
    """Return figures of a tokenizer on texts: lengths, and characters a token."""
    given = list(texts)
    encoded = [tokenizer.encode(text) for text in given]
    lengths = [len(tokens) for tokens in encoded]
    total = sum(lengths)
    return {
        "vocab_size": getattr(tokenizer, "vocab_size", None),
        "total_tokens": total,
        "unique_tokens": len({t for tokens in encoded for t in tokens}),
        "avg_sequence_length": total / len(given) if given else 0.0,
        "max_sequence_length": max(lengths, default=0),
        "compression_ratio": sum(map(len, given)) / total if total else 0.0,
    }
