"""Tokens as inputs of probes, and the classifiers: a linear one, and the nearest mean of a class."""

import warnings
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from codec.eval.probes.sources import TokenSource, View
from codec.eval.probes.types import CodedClip


def frame_features(codes: Tensor, view: View, tokens: TokenSource) -> Any:
    """One row per frame of ``codes (K, T)``.

    Returns:
        ``one-hot``: sparse ``(T, k * C)`` with a one per layer. ``vectors``: dense ``(T, D)``.
    """
    codes = codes[: view.num_codebooks]
    layers, frames = codes.shape
    if view.features == "vectors":
        assert tokens.codebooks is not None
        chosen = (tokens.codebooks[layer][codes[layer]] for layer in range(layers))
        return sum(chosen, start=torch.zeros(())).numpy()
    columns = codes.numpy() + tokens.codebook_size * np.arange(layers)[:, None]
    rows = np.broadcast_to(np.arange(frames), columns.shape)
    shape = (frames, layers * tokens.codebook_size)
    ones = np.ones(columns.size, dtype=np.float32)
    return sparse.csr_matrix((ones, (rows.ravel(), columns.ravel())), shape=shape)


def stack(blocks: list[Any]) -> Any:
    """Rows of several clips as one matrix."""
    return sparse.vstack(blocks, format="csr") if sparse.issparse(blocks[0]) else np.concatenate(blocks)


def clip_features(clips: list[CodedClip], view: View, tokens: TokenSource) -> np.ndarray:
    """One row per clip: how often each code occurs, or the mean code vector.

    Occurrence is the square root of the share (the Hellinger map), so that a linear probe does
    not see the most frequent codes only. Shape ``(N, k * C)`` or ``(N, D)``.
    """
    rows = []
    for clip in clips:
        mean = np.asarray(frame_features(clip.codes, view, tokens).mean(axis=0)).ravel()
        rows.append(np.sqrt(mean) if view.features == "one-hot" else mean)
    return np.stack(rows)


def fit_predict(view: View, strength: float, train: Any, labels: np.ndarray, test: Any) -> np.ndarray:
    """Predicted labels of the rows of ``test`` by multinomial logistic regression.

    Vectors are standardised first; codes are not, since that would blow up rare ones.

    Args:
        strength: the inverse weight of the L2 penalty.
    """
    if len(np.unique(labels)) == 1:
        return np.full(test.shape[0], labels[0])
    model = LogisticRegression(C=strength, max_iter=500, tol=1e-3)
    if view.features == "vectors":
        model = make_pipeline(StandardScaler(), model)
    with warnings.catch_warnings():
        # One clip of each class is what was asked for.
        warnings.filterwarnings("ignore", message="The number of unique classes is greater than 50%")
        return model.fit(train, labels).predict(test)


def nearest_centroid(view: View, train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """For each row of ``test`` the label whose rows of ``train`` have the nearest mean; nothing else is learned.

    Vectors are standardised first, as for :func:`fit_predict`.
    """
    if view.features == "vectors":
        scaler = StandardScaler().fit(train)
        train, test = scaler.transform(train), scaler.transform(test)
    classes = np.unique(labels)
    centroids = np.stack([train[labels == label].mean(axis=0) for label in classes])
    # Without the square of the row itself, which is the same for all classes.
    distances = (centroids**2).sum(axis=1) - 2 * test @ centroids.T
    return classes[distances.argmin(axis=1)]
