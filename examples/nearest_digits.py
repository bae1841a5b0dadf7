"""Recognise handwritten digits by their nearest neighbours, under each backend in turn.

    python examples/nearest_digits.py
    python examples/nearest_digits.py --images 300 --neighbours 5 --backends numpy,auto

The program is `predict`. It knows nothing of backends, and not a line of it changes between them.
Needs scikit-learn, which brings the images (`pip install scikit-learn`).
"""

from __future__ import annotations

import argparse

import numpy as np

from tinytorch import Tensor, use_backend
from tinytorch.measure.clock import Effort, measure
from tinytorch.measure.units import interval_text, percent_text


def predict(images: Tensor, known: Tensor, labels: np.ndarray, neighbours: int) -> np.ndarray:
    """Return the label that most of each image's nearest known images have.

    images: (N, D); known: (K, D); labels: (K,) digits from 0 to 9.
    """
    # |x - y|^2 = |x|^2 - 2 x.y + |y|^2, and |x|^2 is the same for every known image.
    distances = (known * known).sum(axis=1) - 2 * (images @ known.T)
    nearest = np.argpartition(distances.numpy(), neighbours - 1, axis=1)[:, :neighbours]
    votes = np.zeros((len(images), 10), int)
    for place in range(neighbours):
        votes[np.arange(len(images)), labels[nearest[:, place]]] += 1
    return votes.argmax(axis=1)


def main() -> None:
    """Load the images, and recognise and time the same ones under every backend."""
    from sklearn.datasets import load_digits

    parser = argparse.ArgumentParser(description="Nearest-neighbour digits under each backend.")
    parser.add_argument("--images", type=int, default=50, help="how many to recognise")
    parser.add_argument("--neighbours", type=int, default=3)
    parser.add_argument("--backends", default="naive,blocked,numpy,auto")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each backend")
    asked = parser.parse_args()

    pixels, digits = load_digits(return_X_y=True)
    n = asked.images
    images, known = Tensor(pixels[:n]), Tensor(pixels[n:])
    predictions = {}

    def run(backend: str) -> None:
        with use_backend(backend):
            predictions[backend] = predict(images, known, digits[n:], asked.neighbours)

    for name in asked.backends.split(","):
        taken = measure(lambda name=name: run(name), name, effort=Effort(seconds=asked.seconds))
        accuracy = float((predictions[name] == digits[:n]).mean())
        print(f"{name:8} {percent_text(accuracy):>7} right   {interval_text(taken.interval)}")
        for criticism in taken.criticisms:
            print(f"         shaky ({criticism.rule}): {criticism.advice}")


if __name__ == "__main__":
    main()
