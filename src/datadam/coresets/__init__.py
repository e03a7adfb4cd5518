"""Coresets: real images chosen to stand for their class. Each file has `select(real, ipc, seed) -> one index tensor a class`."""

from datadam.coresets import kcenter, kmeans, random

SELECT = {"random": random.select, "kcenter": kcenter.select, "kmeans": kmeans.select}

__all__ = ["SELECT"]
