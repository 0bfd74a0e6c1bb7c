"""Contrastive objectives that are added to any model: two views of a history are to have similar states."""
