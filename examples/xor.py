"""Learn XOR, which no single neuron can: two layers do.

python examples/xor.py
"""

from __future__ import annotations

import argparse

import tinytorch
from tinytorch import Adam, Linear, MSELoss, Sequential, Sigmoid, Tanh, Tensor


def main() -> None:
    """Train on the four cases there are, and print what the network says to each."""
    parser = argparse.ArgumentParser(description="XOR with two layers.")
    parser.add_argument("--steps", type=int, default=500)
    asked = parser.parse_args()

    tinytorch.manual_seed(0)
    x = Tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    y = Tensor([[0], [1], [1], [0]])
    model = Sequential(Linear(2, 4), Tanh(), Linear(4, 1), Sigmoid())
    optimizer = Adam(model.parameters(), lr=0.05)
    loss_fn = MSELoss()
    for _ in range(asked.steps):
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()

    print(f"loss {loss.item():.5f}")
    for (a, b), said in zip(x.tolist(), model(x).tolist(), strict=True):
        print(f"{a:.0f} xor {b:.0f} = {round(said[0])}   ({said[0]:.3f})")


if __name__ == "__main__":
    main()
