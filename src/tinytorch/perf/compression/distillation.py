"""Knowledge distillation: a student learns what the teacher finds likely, beside the labels.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.perf import models
from tinytorch.perf.compression.magnitude import checked_share


class KnowledgeDistillation:
    """loss = alpha T^2 KL(teacher at T || student at T) + (1 - alpha) cross-entropy with labels.

    T^2 keeps the size of the first part's gradient when the temperature changes.
    """

    def __init__(
        self, teacher: Any, student: Any, temperature: float = 3.0, alpha: float = 0.7
    ) -> None:
        """Keep both models; temperature over 0, alpha 0 (labels alone) to 1 (teacher alone)."""
        if not np.isfinite(temperature) or not temperature > 0:
            raise InvalidValue(f"temperature must be a positive number, got {temperature!r}")
        self.teacher, self.student = teacher, student
        self.temperature = float(temperature)
        self.alpha = checked_share(alpha, "alpha")

    def distillation_loss(self, student_logits: Any, teacher_logits: Any, labels: Any) -> Tensor:
        """Return the scalar loss, the mean over samples; its gradient reaches the student only.

        Logits (N, C); labels: N class indices.
        """
        student = student_logits if isinstance(student_logits, Tensor) else Tensor(student_logits)
        teacher = models.array_in(teacher_logits)
        targets = models.array_in(labels)
        self._check(student, teacher, targets)
        N, C = student.shape
        T = self.temperature
        likely = _softmax(teacher.astype(np.float64) / T)
        entropy = float((likely * np.log(np.where(likely > 0, likely, 1))).sum() / N)
        soft = (student * (1 / T)).log_softmax()
        told = Tensor(likely, dtype=student.dtype)
        divergence = entropy - (told * soft).sum() * (1 / N)
        right = Tensor(np.eye(C)[targets.astype(np.int64)], dtype=student.dtype)
        hard = (right * student.log_softmax()).sum() * (-1 / N)
        return divergence * (self.alpha * T * T) + hard * (1 - self.alpha)

    def loss(self, x: Any, labels: Any) -> Tensor:
        """Run both models on inputs and return the loss."""
        student, teacher = models.run(self.student, x), models.run(self.teacher, x)
        return self.distillation_loss(student, teacher.detach(), labels)

    @staticmethod
    def _check(student: Tensor, teacher: Any, labels: Any) -> None:
        if student.ndim != 2 or student.shape != teacher.shape or not student.size:
            raise ShapeError(
                f"logits must both be (N, C), got {student.shape} of the student and "
                f"{teacher.shape} of the teacher"
            )
        if labels.shape != student.shape[:1]:
            raise ShapeError(f"labels must be {student.shape[0]} indices, got {labels.shape}")
        classes = student.shape[1]
        if (labels != np.rint(labels)).any() or (labels < 0).any() or (labels >= classes).any():
            raise InvalidValue(f"labels must be whole numbers from 0 to {classes - 1}")


def _softmax(logits: Any) -> Any:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
