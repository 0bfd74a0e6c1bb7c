"""The text encoders by the name used in settings.

An encoder is one module of this package: a class of the form of :class:`ml.text.encoder.TextEncoder` that can be made
without arguments, and a ``REGISTERED`` (:mod:`ml.registry`) that describes it. ``needs`` names the optional dependency
of this project that it needs, where it needs one.
"""

from __future__ import annotations

from ml.config import nearest
from ml.registry import Registered, registered
from ml.text.encoder import TextEncoder

DEFAULT_ENCODER = "tf_idf_svd"


class Encoder(Registered):
    """A text encoder: its description, and how it is made."""

    @property
    def extra(self) -> str | None:
        """The optional dependency that it needs, ``None`` where it needs none."""
        return next(iter(self.needs), None)

    def create(self) -> TextEncoder:
        """The encoder with its default settings.

        Raises:
            ModuleNotFoundError: it needs an extra that is not installed; the message says which.
        """
        return self.resolve()()


ENCODERS = registered("ml.text", Encoder)


def create_encoder(name: str = DEFAULT_ENCODER) -> TextEncoder:
    """The encoder of that name, with its default settings.

    Raises:
        ValueError: there is none.
        ModuleNotFoundError: it needs an extra that is not installed; the message says which.
    """
    if name not in ENCODERS:
        raise ValueError(f"there is no text encoder {name!r}{nearest(name, ENCODERS)}; there are {', '.join(ENCODERS)}")
    return ENCODERS[name].create()
