"""A set beside the real images it stands for: the nearest of them, attention maps, and where it lies among features.

`inspect(distilled, real)` gives an `Inspection`, which `save(RUN)` writes as RUN/inspection.json and RUN/inspection.safetensors,
so that a page can be made again without the data.

inspection.json ("number" is {"value", "low", "high"}, the last two null where there is no interval; blocks count from 1):

    format       "datadam-inspection/1"
    run          {"digest" (of images, labels and rate), "data" (checksum), "net"}
    settings     {"features", "samples", "networks", "epochs" (of the trained network, else 0), "seed"}
    classes      the numbers of the classes looked at; `drawn`, of those that pictures show
    neighbours   {"image" (that students learn from, numbered as the stored ones decode to them), "real", "label", "distance"
                 (lists of one length Q), "searched" (training images of the data)}
    attention    null (the network has no blocks), or {"power", "images" (real images a class), "blocks": [{"block", "side",
                 "alike", "alike_random" or null, "stable_real", "stable", "stable_random" or null}] (numbers)}
    scatter      {"network" (words), "real" (images), "perplexity", "neighbours" (k), "draws" (of random images), "measures":
                 {"bias", "spread", "density", "coverage"}: {"synthetic": number or null, "random": number or null}}
    seconds

inspection.safetensors: "nearest" [Q, C, H, W] uint8; "points" [n, 2], "point_labels" [n], "point_kinds" [n] (0 real, 1
synthetic); and with attention, for D drawn classes: "first_real", "mean_real" [D, C, H, W] uint8, and of each block b "real_b",
"synthetic_b", "first_real_b", "first_synthetic_b" [D, h, w] float32.
"""

from datadam.inspection.inspecting import FILE, FORMAT, Inspection, Settings, inspect, is_fresh

__all__ = ["FILE", "FORMAT", "Inspection", "Settings", "inspect", "is_fresh"]
