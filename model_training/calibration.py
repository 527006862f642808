"""Logits on rows held out for it -> a temperature and a bias per label, so that 0.8 means 8 in 10.

# N = frames, L = labels
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from model_training.label_table import PRESENT, UNKNOWN, LabelTable
from model_training.metrics import Floats
from service.inference.artifact import Calibration

IDENTITY = Calibration(temperature=1.0, bias=0.0)
# Pulls an ill-determined fit gently to the identity, as if a few more frames had agreed with the network.
_PRIOR = 0.5


def calibrate(table: LabelTable, logits_NL: Floats) -> dict[str, Calibration]:
    """Per label the temperature and bias under which its known entries are likeliest (Guo et al., ICML 2017; Platt).

    A label whose known entries are all of one kind says nothing on calibration and keeps its logits.
    """
    return {
        label: _fitted(table.entries_NL[:, j], np.asarray(logits_NL[:, j], np.float64))
        for j, label in enumerate(table.labels)
    }


def calibrated(
    logits_NL: Floats, labels: tuple[str, ...], calibration: Mapping[str, Calibration]
) -> NDArray[np.float64]:
    """Probabilities [N, L]: sigmoid(logit / temperature + bias)."""
    temperature_L = np.asarray([calibration[label].temperature for label in labels])
    bias_L = np.asarray([calibration[label].bias for label in labels])
    return np.asarray(expit(logits_NL / temperature_L + bias_L))


def _fitted(entries_N: NDArray[np.int8], logits_N: NDArray[np.float64]) -> Calibration:
    known = entries_N != UNKNOWN
    present, logits = entries_N[known] == PRESENT, logits_N[known]
    if present.all() or not present.any():
        return IDENTITY
    signs = np.where(present, 1.0, -1.0)

    def cost(parameters: NDArray[np.float64]) -> float:
        log_temperature, bias = parameters
        margins = signs * (logits / np.exp(log_temperature) + bias)
        return float(np.logaddexp(0, -margins).sum() + _PRIOR * (log_temperature**2 + bias**2))

    log_temperature, bias = minimize(cost, np.zeros(2), method="L-BFGS-B", bounds=[(-4, 4), (-10, 10)]).x
    return Calibration(temperature=round(float(np.exp(log_temperature)), 6), bias=round(float(bias), 6))
