"""Features of scikit-learn's digits by a representation that is learned without labels, as a file.

`python benchmarks/digit_features.py --out features` writes `digits-kmeans.npz` for
`sweeps/vision_digits.yaml`: how much nearer than on average an image is to each of 128 k-means
centres (Coates, Lee and Ng 2011). The centres are found on all images, without any label, as a
self-supervised vision model would be; the task's labels are never seen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

CENTRES, SEED = 128, 0


def features() -> np.ndarray:
    """float32 [images, CENTRES], in the order of scikit-learn's images."""
    pixels_ND, _ = load_digits(return_X_y=True)
    centres = KMeans(CENTRES, n_init="auto", random_state=SEED).fit(pixels_ND)
    distance_NC = centres.transform(pixels_ND)
    return np.maximum(distance_NC.mean(axis=1, keepdims=True) - distance_NC, 0).astype(np.float32)


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the file")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    made = features()
    ids = np.array([f"digit:{i}" for i in range(len(made))])
    np.savez(out / "digits-kmeans.npz", features=made, id=ids)
    print(f"{out / 'digits-kmeans.npz'}: {len(made)} images, {made.shape[1]} features")


if __name__ == "__main__":
    main()
