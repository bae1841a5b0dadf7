"""Channel by channel in plain Python: the definition (in float64)."""

from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel


def _mean(values):
    return sum(values) / len(values) if values else 0.0


@kernel("channel_moments", interpreted=True)
def naive(x, out=None):
    means, variances = outputs = destinations("channel_moments", (x,), out)
    for c in range(x.shape[1]):
        values = x[:, c].ravel().tolist()
        means[c] = mean = _mean(values)
        variances[c] = _mean([(v - mean) ** 2 for v in values])
    return outputs
