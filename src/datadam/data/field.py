"""The numbers by which the released code of the field normalises images.

Sources: the loaders of DatasetCondensation (DC, DSA, DM), DataDAM, DC-Bench and the ECCV 2024 challenge, which agree, and those
of MTT, DATM, PAD, FTD and CAFE, which give CIFAR-100 the numbers of CIFAR-10.
"""

import re
from collections.abc import Mapping
from typing import Literal

from datadam.errors import InvalidInput

Numbers = tuple[tuple[float, ...], tuple[float, ...]]
Normalisation = Literal["own", "field", "mtt"]
NORMALISATIONS: dict[Normalisation, str] = {
    "own": "the data's own: those of the catalog, else mean and standard deviation of the training pixels",
    "field": "those of the released code of DC, DSA, DM and DataDAM; of data that it does not know, the data's own",
    "mtt": "as field, but CIFAR-100 by the numbers of CIFAR-10: the released code of MTT, DATM, PAD, FTD and CAFE",
}

CIFAR: Numbers = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))  # the deviation is a mean over batches, and stayed
IMAGENET: Numbers = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
FIELD: Mapping[str, Numbers] = {
    "mnist": ((0.1307,), (0.3081,)),
    "fashion-mnist": ((0.2861,), (0.3530,)),
    "svhn": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "cifar10": CIFAR,
    "cifar100": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    "tiny-imagenet": IMAGENET,
    "imagenette": IMAGENET,
    "imagewoof": IMAGENET,
    "imagesquawk": IMAGENET,
}


def numbers(normalisation: Normalisation, data: str, channels: int) -> Numbers | None:
    """Mean and standard deviation of data of this name, however it is spelled ("CIFAR-10", "fashion_mnist"); None for the data's
    own. Raises `InvalidInput` for an unknown word."""
    check_normalisation(normalisation)
    folded = _folded(data)
    if normalisation == "own":
        return None
    known = CIFAR if normalisation == "mtt" and folded == "cifar100" else _FOLDED.get(folded)
    return known if known is not None and len(known[0]) == channels else None


def check_normalisation(word: str) -> None:
    """Raise `InvalidInput` unless this is a known normalisation."""
    if word not in NORMALISATIONS:
        raise InvalidInput(f"normalisation is {word!r}; allowed: {', '.join(NORMALISATIONS)}")


def _folded(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


_FOLDED = {_folded(name): known for name, known in FIELD.items()}
