"""The Keras side of the ConvLSTM benchmark. The back end is set by the environment before this is imported."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tests.benchmarks.convlstm_case import Case


class KerasNetwork:
    """Stacked `ConvLSTM2D`, trained by `train_on_batch`, with whatever Keras chooses by itself."""

    def __init__(self, case: Case) -> None:
        back = keras.backend.backend()
        if back == "torch":
            import torch

            torch.set_num_threads(case.threads)
        else:
            import tensorflow

            tensorflow.config.threading.set_intra_op_parallelism_threads(case.threads)
            tensorflow.config.threading.set_inter_op_parallelism_threads(case.threads)
        x, truth = case.data()
        self.x, self.truth = (np.ascontiguousarray(part.transpose(1, 0, 3, 4, 2)) for part in (x, truth))
        options: dict[str, Any] = {"padding": "same", "return_sequences": True}
        layers = [keras.layers.ConvLSTM2D(case.hidden, case.kernel, **options) for _ in range(case.layers)]
        self.network = keras.Sequential([keras.Input(self.x.shape[1:], batch_size=case.batch), *layers])
        for made, layer in zip(self.network.layers, case.weights(), strict=True):
            weight, bias = layer.gates(0, 1, 3, 2)
            weight = weight.transpose(2, 3, 1, 0)
            inputs = weight.shape[2] - case.hidden
            made.set_weights([weight[:, :, :inputs], weight[:, :, inputs:], bias])
        self.network.compile(optimizer=keras.optimizers.Adam(1e-3), loss="mse")

    def parameters(self) -> int:
        return int(self.network.count_params())

    def train(self) -> float:
        return float(self.network.train_on_batch(self.x, self.truth))

    def infer(self) -> None:
        self.network.predict_on_batch(self.x)

    def wait(self) -> None:
        """Both calls above give numbers back, and so have waited."""

    def about(self) -> dict[str, Any]:
        back = keras.backend.backend()
        return {"keras": keras.__version__, back: __import__(back).__version__}
