"""Where synthetic images lie among real ones in a feature space: numbers for spread and bias, and a picture.

Letters: n real and m synthetic images of a class, N points, D numbers of a feature.
"""

import torch
from torch import Tensor

NEIGHBOURS = 5  # k of density and coverage, as Naeem et al. chose it
WIDTH = 50  # numbers of a feature that are left for the picture
PERPLEXITY = 30.0
MEASURES = ("bias", "spread", "density", "coverage")


def measures(real: list[Tensor], synthetic: list[Tensor]) -> dict[str, float]:
    """How the images of a set lie among real ones, class by class and then averaged.

    Arguments: features of each class, `real` [n, D] and `synthetic` [m, D].
    `bias`: the distance of the class means divided by the real images' root-mean-square distance from their mean (0: no bias);
    `spread`: the synthetic images' root-mean-square distance from their own mean, divided by the same (1: as the real ones; NaN
    for one image a class); `density` and `coverage` of Naeem et al. (ICML 2020): in how many balls around a real image, out to
    its k-th real neighbour, a synthetic image lies, over k; and the share of these balls that hold one or more.
    A class of fewer than two real images, or of equal ones, is left out.
    """
    told = []
    for ours, theirs in zip(real, synthetic, strict=True):
        ours, theirs = ours.double(), theirs.double()
        if len(ours) < 2 or not len(theirs):
            continue
        centre, own = ours.mean(0), theirs.mean(0)
        unit = (ours - centre).square().sum(1).mean().sqrt()
        if unit == 0:
            continue
        k = min(NEIGHBOURS, len(ours) - 1)
        radii = torch.cdist(ours, ours).fill_diagonal_(torch.inf).kthvalue(k, dim=1).values
        inside = torch.cdist(ours, theirs) <= radii[:, None]
        spread = (theirs - own).square().sum(1).mean().sqrt() / unit if len(theirs) > 1 else torch.tensor(torch.nan)
        density = inside.double().sum() / (k * len(theirs))
        told.append([(own - centre).norm() / unit, spread, density, inside.any(1).double().mean()])
    if not told:
        return dict.fromkeys(MEASURES, float("nan"))
    means = torch.tensor([[float(value) for value in one] for one in told], dtype=torch.float64).mean(0)
    return dict(zip(MEASURES, means.tolist(), strict=True))


def picture(features: Tensor, seed: int) -> tuple[Tensor, float]:
    """Places in the plane [N, 2], within [0, 1], by t-SNE of features [N, D], and its perplexity.

    Before it the features are reduced to their first principal components.
    """
    from sklearn.manifold import TSNE

    centred = (features - features.mean(0)).double()
    squares, axes = torch.linalg.eigh(centred @ centred.T)  # fewer images than numbers, as a rule
    reduced = (axes * squares.clamp(min=0).sqrt()).flip(1)[:, :WIDTH].numpy()
    perplexity = min(PERPLEXITY, max(1.0, (len(reduced) - 1) / 3))
    start = reduced[:, :2] / max(float(reduced[:, 0].std()), 1e-12) * 1e-4
    found = TSNE(init=start, perplexity=perplexity, random_state=seed, n_jobs=1).fit_transform(reduced)
    plane = torch.from_numpy(found).double()
    low, high = plane.amin(0), plane.amax(0)
    return ((plane - low) / (high - low).clamp(min=1e-12)).float(), perplexity
