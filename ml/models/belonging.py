"""What the rows of a weight belong to: what has to be known of it to carry it over into a model of another catalogue.

A module whose tensors have rows of items, users or codes says so in a class variable ``belongs``, from names of its own
tensors to the constants below. All other weights are the same whatever the catalogue is.
"""

from __future__ import annotations

from torch import nn

OF_NOTHING = "nothing"
OF_ITEMS = "items"
OF_USERS = "users"
# code vectors of quantised items, ``[books, codes, width]``, beside the ``codes`` of the items
OF_CODES = "codes"
# nodes of the tree of all identifiers
OF_NODES = "nodes"
# a rest of the user index, which is another for another set of users
OF_USER_NUMBERS = "user numbers"
# no trained weight: it follows from the catalogue
FROM_CATALOGUE = "catalogue"


def belonging_of_weights(model: nn.Module) -> dict[str, str]:
    """What the rows of each tensor of a model's state dict belong to, by the name of the tensor."""
    kinds = dict.fromkeys(model.state_dict(), OF_NOTHING)
    for place, module in model.named_modules():
        for name, kind in getattr(module, "belongs", {}).items():
            path = f"{place}.{name}" if place else name
            # a module may have been built without it
            if path in kinds:
                kinds[path] = kind
    return kinds
