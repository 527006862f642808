"""Logits on rows held out for it -> a temperature and a bias per label, so that 0.8 means 8 in 10.

# N = frames, L = labels
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from model_training.held_out import HeldOut
from model_training.metrics import Floats
from service.inference.artifact import Calibration

IDENTITY = Calibration(temperature=1.0, bias=0.0)
# Pulls an ill-determined fit gently to the identity, as if a few more frames had agreed with the network.
_PRIOR = 0.5


def calibrate(held_out: HeldOut, logits_NL: Floats) -> dict[str, Calibration]:
    """Per label the temperature and bias under which what is held out is likeliest (Guo et al., ICML 2017; Platt).

    A label of which nothing held out is absent, or nothing present, says nothing on calibration and keeps its logits.
    """
    return {
        label: _fitted(held_out.targets_NL[:, j], held_out.weights_NL[:, j], np.asarray(logits_NL[:, j], np.float64))
        for j, label in enumerate(held_out.labels)
    }


def calibrated(
    logits_NL: Floats, labels: tuple[str, ...], calibration: Mapping[str, Calibration]
) -> NDArray[np.float64]:
    """Probabilities [N, L]: sigmoid(logit / temperature + bias)."""
    temperature_L = np.asarray([calibration[label].temperature for label in labels])
    bias_L = np.asarray([calibration[label].bias for label in labels])
    return np.asarray(expit(logits_NL / temperature_L + bias_L))


def _fitted(
    targets_N: NDArray[np.float64], weights_N: NDArray[np.float64], logits_N: NDArray[np.float64]
) -> Calibration:
    present_N, absent_N = weights_N * targets_N, weights_N * (1 - targets_N)
    if not present_N.any() or not absent_N.any():
        return IDENTITY

    def cost(parameters: NDArray[np.float64]) -> float:
        log_temperature, bias = parameters
        calibrated_N = logits_N / np.exp(log_temperature) + bias
        surprise = present_N @ np.logaddexp(0, -calibrated_N) + absent_N @ np.logaddexp(0, calibrated_N)
        return float(surprise + _PRIOR * (log_temperature**2 + bias**2))

    log_temperature, bias = minimize(cost, np.zeros(2), method="L-BFGS-B", bounds=[(-4, 4), (-10, 10)]).x
    return Calibration(temperature=round(float(np.exp(log_temperature)), 6), bias=round(float(bias), 6))
