"""Vectors of the items for methods that quantise vectors: of their text, of the training interactions, of their graph,
of a trained model, or several of these end to end."""

from ml.codes.vectors.parts import Trained, VectorPart, input_vectors

__all__ = ["Trained", "VectorPart", "input_vectors"]
