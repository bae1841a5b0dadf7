"""Learn a straight line between two clouds of points, with a single neuron.

python examples/perceptron.py
python examples/perceptron.py --points 500 --epochs 50
"""

from __future__ import annotations

import argparse

import numpy as np

import tinytorch
from tinytorch import SGD, BinaryCrossEntropyLoss, Linear, Sequential, Sigmoid, Tensor


def main() -> None:
    """Draw two clouds, train, and say how many points are on the right side."""
    parser = argparse.ArgumentParser(description="A perceptron on two clouds of points.")
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=100)
    asked = parser.parse_args()

    tinytorch.manual_seed(0)
    labels = np.arange(asked.points) % 2
    points = np.random.randn(asked.points, 2) + np.where(labels == 1, 2.0, -2.0)[:, None]
    x, y = Tensor(points), Tensor(labels[:, None])

    model = Sequential(Linear(2, 1), Sigmoid())
    optimizer = SGD(model.parameters(), lr=0.5)
    loss_fn = BinaryCrossEntropyLoss()
    for epoch in range(asked.epochs):
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        if epoch % 20 == 0:
            print(f"epoch {epoch:3}  loss {loss.item():.4f}")

    right = ((model(x).numpy() > 0.5) == (y.numpy() > 0.5)).mean()
    print(f"{100 * right:.1f} % on the right side")


if __name__ == "__main__":
    main()
