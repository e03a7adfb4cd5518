"""What can be told of real images from a distilled set: how near it lies to them, whether attacks find those that made it, and
which classes pay. Measured; nothing is promised.

`audit(distilled, real)` gives an `Audit`, which `save(RUN)` writes as RUN/audit.json and RUN/audit.safetensors.

audit.json ("rate" is {"value", "low", "high"}: a share with its 95 % interval; images are those that students learn from,
numbered from 0 as in the run, or as the run's stored images decode to them; real images as in the training part):

    format          "datadam-audit/1"
    run             {"of", "net", "ipc", "images" (stored), "labels", "decoder", "training_images", "stored_bytes", "classes",
                    "data", "digest" (of the images, as in the card), "note"}
    settings        {"students", "references", "samples", "protocol" (words), "training" (numbers), "seed", "precision",
                    "features" (the network, in words)}
    memorisation
      pixels, features   each
        quantiles        the shares below which the quantiles lie: [0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 1]
        distance         quantiles of the distance to the nearest training image: {"synthetic", "start" or null, "train" (training
                         images to another), "test" (unseen images)}; Euclidean, of colours in [0, 1] or of embeddings
        relative         the same of the distance divided by the mean of those to the 50 nearest
        nearer           {"1", "5"}: the share of synthetic images nearer than 1 % and 5 % of unseen images:
                         rate + {"count", "of", "limit"}
        relatively_nearer  the same by relative distance
      copies        synthetic images that are a training image, to half a grey level a pixel
      start         null, or {"images", "found" (start images that are a training image), "went" (quantiles of the distance in
                    pixels from start to end), "still_nearest": {"pixels", "features"} (rate or null: the share of found start
                    images that are still the nearest real image of what became of them)}
      closest       pairs, the relatively nearest in pixels first: {"image", "label", "real", "real_label", "distance",
                    "relative", "features": {"real", "distance", "relative"}, "is_start" (null: not known)}
    membership      {"distilled", "random"}: the attacked students learned from the set, or from as many random real images; each
      training      members are training images (of "random": those it did not learn from, a control that should give 0.5)
      own           members are the real images the set began with, or those among its own (null: none); of "random" those that
                    it learned from. Others are test images everywhere. Each {"loss", "ratio"}: null, or {"auc": rate,
                    "tpr": rate + {"fpr"}, "members", "others"}
      own_kind      "start", "chosen" (images of the set that are training images) or null
    balance         {"distilled", "random"}: {"classes": [{"recall": rate or null, "students": [..], "images"}], "worst", "best"
                    (class numbers), "gap", "std", "gap_interval" and "std_interval" ({"low", "high"}), "mean", "students"}
    scores          null, or DD-Ranking's at the time of the audit: {"lrs", "hlr", "ior", "ars" (null where missing), "intervals"
                    (of each [low, high] or null), "used", "evidence" (of each used {"students", "sets", "epochs"}), "missing"
                    (commands), "net", "protocol", "w", "gamma"}
    notes           what a reader must be told
    command         that made it; "" from Python
    seconds, made   of the audit; hardware, versions, commit, time, workers, threads

audit.safetensors, for M training images and P closest pairs: "nearest_pixels", "nearest_features" [M] int64 and
"distance_pixels", "distance_features" [M] float64, the nearest training images of the data; "origin" [M] int64, the one that each
began as, or is (-1: unknown); "closest_synthetic", "closest_real" [P, C, H, W] uint8.
"""

from datadam.privacy.auditing import FORMAT, Audit, audit

__all__ = ["FORMAT", "Audit", "audit"]
