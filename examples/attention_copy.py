"""Teach one layer of attention to copy what it was shown.

    python examples/attention_copy.py
    python examples/attention_copy.py --steps 500 --length 8

A sequence is some random letters, a bar, and the same letters again: `ABC|ABC`. To say the second
half, the network must look back at the first, which is what attention is for.
"""

from __future__ import annotations

import argparse

import numpy as np

import tinytorch
from tinytorch import GPT, Adam, CrossEntropyLoss

LETTERS = "ABCDEFGH"
BAR = len(LETTERS)


def sequences(count: int, length: int) -> np.ndarray:
    """Return sequences (count, 2 * length + 1) of token numbers."""
    half = np.random.randint(0, BAR, (count, length))
    return np.hstack([half, np.full((count, 1), BAR), half])


def said(tokens: np.ndarray) -> str:
    """Return token numbers as letters."""
    return "".join((LETTERS + "|")[t] for t in tokens)


def main() -> None:
    """Train on random sequences, and test on new ones."""
    parser = argparse.ArgumentParser(description="Attention on a copy task.")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--length", type=int, default=6)
    asked = parser.parse_args()

    tinytorch.manual_seed(0)
    length = asked.length
    model = GPT(BAR + 1, embed_dim=32, num_layers=2, num_heads=2, max_seq_len=2 * length + 1)
    optimizer, loss_fn = Adam(model.parameters(), lr=0.005), CrossEntropyLoss()
    for step in range(asked.steps):
        batch = sequences(32, length)
        optimizer.zero_grad()
        logits = model(batch[:, :-1])[:, length:]  # only the copy can be known
        loss = loss_fn(logits, batch[:, length + 1 :])
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step:3}  loss {loss.item():.4f}")

    new = sequences(50, length)
    copies = model.generate(new[:, : length + 1], length, temperature=0).numpy()
    print(f"shown {said(new[0, : length + 1])}  copied {said(copies[0, length + 1 :])}")
    print(f"{100 * (copies == new)[:, length + 1 :].mean():.1f} % of letters right")


if __name__ == "__main__":
    main()
