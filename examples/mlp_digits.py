"""Train a multi-layer perceptron on 1,797 handwritten digits.

    python examples/mlp_digits.py
    python examples/mlp_digits.py --epochs 5 --backend numpy

Needs scikit-learn, which brings the images (`pip install scikit-learn`).
"""

from __future__ import annotations

import argparse

import numpy as np

import tinytorch
from tinytorch import (
    Adam,
    CrossEntropyLoss,
    DataLoader,
    Dropout,
    Linear,
    ReLU,
    Sequential,
    Tensor,
    TensorDataset,
    Trainer,
)


def network() -> Sequential:
    """Return a network for images of 64 pixels."""
    return Sequential(
        Linear(64, 128), ReLU(), Dropout(0.1), Linear(128, 64), ReLU(), Linear(64, 10)
    )


def main() -> None:
    """Train on nine tenths of the images, and count what is right of the rest."""
    parser = argparse.ArgumentParser(description="An MLP on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--backend", default="auto")
    asked = parser.parse_args()

    tinytorch.manual_seed(0)
    tinytorch.set_backend(asked.backend)
    images, labels = tinytorch.data.digits()
    images = images.reshape(len(images), 64)
    test = np.arange(len(images)) % 10 == 0

    def loader(part: np.ndarray) -> DataLoader:
        chosen = Tensor(images[part]), Tensor(labels[part], dtype=np.int64)
        return DataLoader(TensorDataset(*chosen), batch_size=32, shuffle=True)

    model = network()
    optimizer = Adam(model.parameters(), lr=0.003)
    trainer = Trainer(model, optimizer, CrossEntropyLoss())
    for epoch in range(asked.epochs):
        loss = trainer.train_epoch(loader(~test))
        print(f"epoch {epoch:2}  loss {loss:.4f}")
    _, accuracy = trainer.evaluate(loader(test))
    print(f"{100 * accuracy:.1f} % of {test.sum()} test images right")


if __name__ == "__main__":
    main()
