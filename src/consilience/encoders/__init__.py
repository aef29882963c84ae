"""Encoders: sample -> tensors -> tokens. The contract, and what encoders of several modalities share."""
