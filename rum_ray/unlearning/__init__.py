"""Unlearning algorithms, which forget one subset. `UNLEARNERS` lists them.

Example:
    >>> import rum_ray as rr
    >>> unlearner = rr.UNLEARNERS["neggrad+"](alpha=0.9, epochs=2)
    >>> unlearner == rr.NegGradPlus(alpha=0.9, epochs=2)
    True
    >>> unlearner.cost(forget=64, retain=128)
    512.0
"""

from collections.abc import Mapping

from rum_ray.plugins import find, implementing
from rum_ray.unlearning.amun import AMUN
from rum_ray.unlearning.bad_teacher import BadTeacher
from rum_ray.unlearning.base import GradientUnlearner, Unlearner, UnlearningTask
from rum_ray.unlearning.baselines import Nothing, Retrain
from rum_ray.unlearning.convolutions import CT, MSG
from rum_ray.unlearning.datamodel import DatamodelMatching
from rum_ray.unlearning.finetune import FineTune, L1Sparse
from rum_ray.unlearning.influence import Influence
from rum_ray.unlearning.lotus import LoTUS
from rum_ray.unlearning.neggrad import NegGrad, NegGradPlus
from rum_ray.unlearning.random_label import RandomLabel, SalUn
from rum_ray.unlearning.scrub import Scrub
from rum_ray.unlearning.ssd import SSD
from rum_ray.unlearning.weight_space import WeightDistortion, WeightDistReg

UNLEARNERS: Mapping[str, type[Unlearner]] = {
    "nothing": Nothing,
    "retrain": Retrain,
    "finetune": FineTune,
    "l1_sparse": L1Sparse,
    "neggrad": NegGrad,
    "neggrad+": NegGradPlus,
    "scrub": Scrub,
    "random_label": RandomLabel,
    "salun": SalUn,
    "influence": Influence,
    "bad_teacher": BadTeacher,
    "ssd": SSD,
    "msg": MSG,
    "ct": CT,
    "amun": AMUN,
    "lotus": LoTUS,
    "weight_distortion": WeightDistortion,
    "weight_dist_reg": WeightDistReg,
    "datamodel_matching": DatamodelMatching,
}
"""Unlearners by their YAML names."""


def find_unlearner(name: str) -> type[Unlearner]:
    """Return the class of an unlearner.

    Args:
        name: a key of `UNLEARNERS`, or `package.module:Class`.

    Raises:
        ConfigError: the name is unknown, or the plug-in is refused.
    """
    cls: type[Unlearner] = find(name, UNLEARNERS, "unlearner", implementing(Unlearner))
    return cls


__all__ = [
    "AMUN",
    "CT",
    "MSG",
    "SSD",
    "UNLEARNERS",
    "BadTeacher",
    "DatamodelMatching",
    "FineTune",
    "GradientUnlearner",
    "Influence",
    "L1Sparse",
    "LoTUS",
    "NegGrad",
    "NegGradPlus",
    "Nothing",
    "RandomLabel",
    "Retrain",
    "SalUn",
    "Scrub",
    "Unlearner",
    "UnlearningTask",
    "WeightDistReg",
    "WeightDistortion",
    "find_unlearner",
]
