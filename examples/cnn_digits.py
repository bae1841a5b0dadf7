"""Train a small convolutional network on 1,797 handwritten digits.

    python examples/cnn_digits.py
    python examples/cnn_digits.py --epochs 5 --backend numpy

Needs scikit-learn, which brings the images (`pip install scikit-learn`).
"""

from __future__ import annotations

import argparse

import numpy as np

import tinytorch
from tinytorch import (
    Adam,
    Conv2d,
    CrossEntropyLoss,
    DataLoader,
    Flatten,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    Tensor,
    TensorDataset,
    Trainer,
)


def network() -> Sequential:
    """Return a network for images of one channel, 8 x 8 pixels."""
    return Sequential(
        Conv2d(1, 16, kernel_size=3, padding=1),
        ReLU(),
        MaxPool2d(2),
        Conv2d(16, 32, kernel_size=3, padding=1),
        ReLU(),
        MaxPool2d(2),
        Flatten(),
        Linear(32 * 2 * 2, 10),
    )


def main() -> None:
    """Train on nine tenths of the images, and count what is right of the rest."""
    parser = argparse.ArgumentParser(description="A CNN on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--backend", default="auto")
    asked = parser.parse_args()

    tinytorch.manual_seed(0)
    tinytorch.set_backend(asked.backend)
    images, labels = tinytorch.data.digits()
    images = images[:, None]
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
