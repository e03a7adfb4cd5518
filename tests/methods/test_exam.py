"""The exam that every method of the catalogue sits: a new row of it is examined without a word here, unless it needs other rates.

What a method computes is the matter of its own test.
"""

import pytest

from datadam.methods import CAFE, CALM, CGAN, DATM, DCVAE, DD, GMMN, KIP, LD, MTT, PAD, BigGAN, Forgetting, FRePo, Method
from datadam.methods.catalog import CATALOG
from datadam.testing import PARTS, Candidate

# Settings at which these tiny images learn, where the common ones do not do.
RATES = {
    "datadam": {"lr_images": 0.05},
    "dm": {"lr_images": 0.3},
    "pixel": {"lr_images": 0.3},
    "dsa": {"start": "noise"},
    "cafe": {"lr_images": 0.02},
    "calm": {"start": "noise", "decoder": "plain", "lr_images": 2.0},
    "mtt": {"lr_images": 10.0},
    "frepo": {"lr_images": 0.05, "optimizer": "adam", "start": "noise"},
    "kip": {"lr_images": 0.05},
    "dd": {"lr_images": 0.1, "net": "convnet2:width=6"},
    "datm": {"lr_images": 0.2, "start": "real", "iterations": 160},  # the labels come first
    "pad": {"lr_images": 0.2, "start": "real", "iterations": 160},
}
FOLLOWS = {"steps": 3, "expert_epochs": 2, "max_start": 2, "count": 3, "lr_rate": 1e-6}
SOFT = FOLLOWS | {"first_max": 1, "widens_by": 2, "epochs": 3, "lr_labels": 20.0, "threshold": 1e9}
QUICK: dict[str, Method] = {
    "biggan": BigGAN(epochs=1, batch=9, width=4, noise=4),
    "cafe": CAFE(most_epochs=3),
    "calm": CALM(count=3, epochs=20),
    "cgan": CGAN(epochs=1, batch=9, width=4, noise=4),
    "dcvae": DCVAE(epochs=1, batch=9, width=4, noise=4),
    "forgetting": Forgetting(epochs=2),
    "gmmn": GMMN(epochs=1, batch=9, width=32, noise=4),
    "mtt": MTT(**FOLLOWS),
    "datm": DATM(**SOFT),
    "pad": PAD(**SOFT, share=0.34, curriculum="none"),
    "frepo": FRePo(pool=3, most_steps=5, lr_labels=0.01),
    "kip": KIP(lr_labels=0.02),
    "dd": DD(rate=0.1, per_step=3),
    "ld": LD(inner_lr=0.5, lr_labels=0.5, patience=3),
}
OTHERWISE: dict[tuple[str, str], Method] = {
    ("cafe", "costs what it says"): CAFE(most_epochs=10),
    # Without the first layer three experts of three steps teach nothing that holds for others; ipc 1 has all layers as published.
    ("pad", "lowers its loss on held-out networks"): PAD(**SOFT, share=0.0, curriculum="none"),
}
SAT = [(name, part) for name, kind in CATALOG.items() for part, (fits, _) in PARTS.items() if not fits(kind())]


@pytest.mark.parametrize(("name", "part"), SAT, ids=[f"{name}: {part}" for name, part in SAT])
def test_exam(name: str, part: str) -> None:
    method = OTHERWISE.get((name, part)) or QUICK.get(name) or CATALOG[name]()
    PARTS[part][1](Candidate(method, RATES.get(name, {})))


def test_each_cites_its_source_and_goes_by_its_name() -> None:
    for name, kind in CATALOG.items():
        assert kind.name == name
        assert kind.citation or name == "random"
