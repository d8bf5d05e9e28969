"""Lists the networks that others trained; each is declared in this folder, or is one of the project's own."""

from __future__ import annotations

from meta_tests.measurements.trained import crepe, facenet_cascade, mobilenet, pesto, rxnmapper, silero
from meta_tests.measurements.trained.sources import Trained
from modelparity.fixtures.models import MODELS

_LADEDA = Trained(MODELS["tiny_ladeda"], "Tiny-LaDeDa's own", "WildRF_Tiny_LaDeDa.pth")
TRAINED = {
    each.spec.name: each
    for each in (
        _LADEDA,
        *facenet_cascade.NETWORKS,
        *crepe.NETWORKS,
        *mobilenet.NETWORKS,
        *pesto.NETWORKS,
        *rxnmapper.NETWORKS,
        *silero.NETWORKS,
    )
}
