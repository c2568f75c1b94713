"""Plain float64 references of the losses, written element by element as the papers write them."""

import math

import numpy as np


def log_weights(sim: np.ndarray, ids: list, positive: str) -> np.ndarray:
    n = len(sim)
    out = np.full((n, n), -np.inf)
    for i in range(n):
        negatives = [k for k in range(n) if ids[k] != ids[i]]
        out[i, i] = 0.0
        if not negatives:
            continue
        total = sum(sim[i, k] for k in negatives)
        for s in negatives:
            out[i, s] = math.log(len(negatives) * sim[i, s] / total)
        if positive == "formula":
            out[i, i] = math.log(len(negatives) * sim[i, i] / total)
    return out


def sharpened(sim: np.ndarray, categories: list, means: dict, sharpen: float) -> np.ndarray:
    """m_c * (sim / m_c) ** sharpen for the pairs of a category c; all else as it is."""
    out = sim.astype(np.float64)
    for i, c in enumerate(categories):
        for s, other in enumerate(categories):
            if i != s and c == other:
                out[i, s] = means[c] * (float(sim[i, s]) / means[c]) ** sharpen
    return out


def contrastive(image: np.ndarray, shape: np.ndarray, scale: float, weight: np.ndarray) -> float:
    """Eq. 5 with w as plain weights."""
    n = len(image)
    total = 0.0
    for i in range(n):
        positive = math.exp(scale * float(image[i] @ shape[i]))
        to_shape = sum(weight[i, s] * math.exp(scale * float(image[i] @ shape[s])) for s in range(n))
        to_image = sum(weight[i, s] * math.exp(scale * float(shape[i] @ image[s])) for s in range(n))
        total -= 0.5 * math.log(positive / to_shape) + 0.5 * math.log(positive / to_image)
    return total / n


def hcl(
    query: np.ndarray,
    key: np.ndarray,
    tau: float,
    beta: float,
    tau_plus: float,
    sim: np.ndarray | None = None,
    ids: list | None = None,
) -> float:
    n = len(query)
    ids = list(range(n)) if ids is None else ids
    total = 0.0
    for i in range(n):
        negatives = [s for s in range(n) if ids[s] != ids[i]]
        if not negatives:
            continue
        pos = math.exp(float(query[i] @ key[i]) / tau)
        neg = np.array([math.exp(float(query[i] @ key[s]) / tau) for s in negatives])
        imp = neg**beta * (1.0 if sim is None else sim[i, negatives])
        count = len(negatives)
        reweight = (imp * neg).sum() / imp.mean()
        ng = max((-tau_plus * count * pos + reweight) / (1 - tau_plus), count * math.exp(-1 / tau))
        total -= math.log(pos / (pos + ng))
    return total / n
