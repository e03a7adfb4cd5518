"""The methods by name, as the command line and a card write them."""

from datadam import plugins
from datadam.errors import InvalidInput, UnknownName
from datadam.methods.base import Method
from datadam.methods.cafe import CAFE
from datadam.methods.calm import CALM
from datadam.methods.coresets.difficulty import EL2N, GraNd
from datadam.methods.coresets.forgetting import Forgetting
from datadam.methods.coresets.herding import Herding
from datadam.methods.coresets.kcenter import KCenter
from datadam.methods.coresets.kmeans import KMeans
from datadam.methods.coresets.random import Random
from datadam.methods.datadam import DataDAM
from datadam.methods.datm import DATM
from datadam.methods.dc import DC
from datadam.methods.dd import DD
from datadam.methods.dm import DM
from datadam.methods.dsa import DSA
from datadam.methods.frepo import FRePo
from datadam.methods.generators.biggan import BigGAN
from datadam.methods.generators.cgan import CGAN
from datadam.methods.generators.dcvae import DCVAE
from datadam.methods.generators.gmmn import GMMN
from datadam.methods.kip import KIP
from datadam.methods.ld import LD
from datadam.methods.mtt import MTT
from datadam.methods.pad import PAD
from datadam.methods.pixel import Pixel

CATALOG: dict[str, type[Method]] = {
    "calm": CALM,
    "datadam": DataDAM,
    "dm": DM,
    "pixel": Pixel,
    "dc": DC,
    "dsa": DSA,
    "cafe": CAFE,
    "mtt": MTT,
    "frepo": FRePo,
    "kip": KIP,
    "dd": DD,
    "ld": LD,
    "datm": DATM,
    "pad": PAD,
    "random": Random,
    "kcenter": KCenter,
    "kmeans": KMeans,
    "herding": Herding,
    "forgetting": Forgetting,
    "el2n": EL2N,
    "grand": GraNd,
    "gmmn": GMMN,
    "cgan": CGAN,
    "biggan": BigGAN,
    "dcvae": DCVAE,
}


def method_named(name: object) -> type[Method]:
    """The method of that name, ours or else that of an installed package. Raises `UnknownName`, `InvalidInput`."""
    kind = (CATALOG.get(name) or plugins.find("methods", name, _checked)) if isinstance(name, str) else None
    if kind is None:
        cure = "A method of another package is known where that package is installed."
        raise UnknownName("method", name, [*CATALOG, *plugins.names("methods")], cure)
    return kind


def listed() -> plugins.Listed[type[Method]]:
    """Our methods and those of installed packages."""
    return plugins.listed("methods", CATALOG, _checked)


def _checked(name: str, loaded: object) -> type[Method]:
    """What a package offers under this name, if it is a method. Raises `InvalidInput`."""
    if not (isinstance(loaded, type) and issubclass(loaded, Method)):
        raise InvalidInput(f"it must be a subclass of datadam.methods.Method, and is {loaded!r}")
    words = ("name", "family", "description", "citation", "separable")
    if lacking := [word for word in words if not hasattr(loaded, word)]:
        raise InvalidInput(f"its class lacks {', '.join(lacking)}")
    if loaded.name != name:
        raise InvalidInput(f"its class says the name {loaded.name!r}; the two names must be the same")
    parameters = vars(loaded).get("__dataclass_params__")  # of its own, and not those that it inherits
    if parameters is None or not parameters.frozen:
        raise InvalidInput("its class must be a frozen dataclass, as every method is")
    try:
        loaded()
    except Exception as error:  # somebody else's code
        raise InvalidInput(f"each of its settings needs a default: {error}") from error
    return loaded
