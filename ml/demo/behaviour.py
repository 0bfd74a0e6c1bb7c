"""Purchasing behaviour of the users of the demo dump.

Items belong to families, the parts of one project (all for drip irrigation, all for sourdough), and families to
themes. Within a family the items form a ring: each has one successor, what most people need next. A user has
a favourite theme and works on two projects at a time. Each purchase is

- mostly for the project that was *not* served by the last one, sometimes for the same one again;
- mostly the successor of the last item bought for *that project*, else any item of the family, popular ones
  more often and those at home already less;
- now and then something popular that belongs to neither project, or a true repeat of an earlier purchase.

Projects end and are replaced by others, mostly of the same theme. So the next item follows from an item that
is seldom the last and often the last but one, and which of the earlier ones it is shows only in how the history
fits together. A first-order Markov chain sees the successor only where the user stays with a project; a model
that looks back over the history can do far better.
"""

from __future__ import annotations

import random
from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Behaviour:
    """Probabilities of what a user does, shares of users and items, exponents of the popularity laws.

    :mod:`ml.demo.behaviour` says what they mean.
    """

    serves_other_project: float = 0.8
    buys_successor: float = 0.7
    ends_project: float = 0.08
    keeps_theme: float = 0.8
    buys_something_popular: float = 0.08
    buys_again: float = 0.025
    buys_on_same_day: float = 0.2
    short_users: float = 0.08
    rare_items: float = 0.06
    family_skew: float = 0.45
    item_skew: float = 0.6


@dataclass(frozen=True)
class Catalogue:
    """Relations between items: complements and substitutes.

    Attributes:
        families: the items of each family, in the order of its ring; rare items are in none of the rings.
        family_of: family of each item ``[items]``.
        theme_of: theme of each family ``[families]``.
        rare: items that are bought a few times only.
        unsold: items that nobody buys; the last ones.
        weights: how popular each item is ``[items]``.
    """

    families: list[list[int]]
    family_of: list[int]
    theme_of: list[int]
    rare: list[int]
    unsold: list[int]
    weights: list[float]

    def successor(self, item: int) -> int:
        family = self.families[self.family_of[item]]
        return family[(family.index(item) + 1) % len(family)]


@dataclass(frozen=True)
class Purchase:
    """``day`` counts from 1970-01-01."""

    item: int
    day: int


FIRST_DAY = 15_340  # 2012-01-01
LAST_FIRST_DAY = 17_000
ITEMS_PER_FAMILY = 16


def make_catalogue(items: int, unsold: int, themes: int, behaviour: Behaviour, rng: random.Random) -> Catalogue:
    """Families of about :data:`ITEMS_PER_FAMILY` items, popularity falling by a power law in both."""
    order = list(range(items))
    rng.shuffle(order)
    rare = sorted(order[: int(items * behaviour.rare_items)])
    common = order[len(rare) :]
    count = max(2, round(len(common) / ITEMS_PER_FAMILY))
    families = [common[start::count] for start in range(count)]
    theme_of = [family % themes for family in range(count)]
    family_of = [0] * (items + unsold)
    weights = [0.0] * (items + unsold)
    for family, members in enumerate(families):
        for rank, item in enumerate(rng.sample(members, len(members))):
            family_of[item] = family
            weights[item] = (family + 1) ** -behaviour.family_skew * (rank + 1) ** -behaviour.item_skew
    outside = [*rare, *range(items, items + unsold)]
    for item in outside:
        family_of[item] = rng.randrange(count)
    return Catalogue(families, family_of, theme_of, rare, outside[len(rare) :], weights)


class _Choice:
    """A weighted choice among fixed items."""

    def __init__(self, items: list[int], weights: list[float]) -> None:
        self._items = items
        self._bounds = list(accumulate(weights))

    def __call__(self, rng: random.Random) -> int:
        place = bisect(self._bounds, rng.random() * self._bounds[-1])
        return self._items[min(place, len(self._items) - 1)]


class Shop:
    """Draws the histories of users from a catalogue."""

    def __init__(self, catalogue: Catalogue, behaviour: Behaviour, rng: random.Random) -> None:
        self._catalogue, self._behaviour, self._rng = catalogue, behaviour, rng
        weights, families = catalogue.weights, catalogue.families
        common = [item for item in range(len(weights)) if weights[item] > 0]
        self._anything = _Choice(common, [weights[item] for item in common])
        self._in_family = [_Choice(members, [weights[item] for item in members]) for members in families]
        self._successor = {item: catalogue.successor(item) for item in common}
        popularity = [(family + 1) ** -behaviour.family_skew for family in range(len(families))]
        self._any_family = _Choice(list(range(len(families))), popularity)
        self._of_theme = {}
        for theme in sorted(set(catalogue.theme_of)):
            members = [family for family, its in enumerate(catalogue.theme_of) if its == theme]
            self._of_theme[theme] = _Choice(members, [popularity[family] for family in members])

    def history(self) -> list[Purchase]:
        """The purchases of one user, oldest first; never the same item twice on a day."""
        rng, behaviour = self._rng, self._behaviour
        theme = self._catalogue.theme_of[self._any_family(rng)]
        projects = [self._new_project(theme, None), self._new_project(theme, None)]
        served = rng.randrange(2)
        day = rng.randrange(FIRST_DAY, LAST_FIRST_DAY)
        purchases: list[Purchase] = []
        today: set[int] = set()
        owned: set[int] = set()
        for _ in range(self._length()):
            draw = rng.random()
            if purchases and draw < behaviour.buys_again:
                item = rng.choice(purchases).item
            elif draw < behaviour.buys_again + behaviour.buys_something_popular:
                item = self._mostly_new(self._anything, owned)
            else:
                if rng.random() < behaviour.serves_other_project:
                    served = 1 - served
                if rng.random() < behaviour.ends_project:
                    projects[served] = self._new_project(theme, projects[1 - served][0])
                item = self._next_of(projects[served], owned)
                projects[served] = (projects[served][0], item)
            if item in today or rng.random() >= behaviour.buys_on_same_day:
                day += 1 + int(rng.expovariate(1 / 20))
                today = set()
            today.add(item)
            owned.add(item)
            purchases.append(Purchase(item, day))
        return purchases

    def _length(self) -> int:
        if self._rng.random() < self._behaviour.short_users:
            return self._rng.randint(1, 4)
        return 5 + min(int(self._rng.expovariate(1 / 5.5)), 60)

    def _new_project(self, theme: int, other: int | None) -> tuple[int, int | None]:
        """A family that is not the other project's, and the last item bought for it: none yet."""
        while True:
            keeps = self._rng.random() < self._behaviour.keeps_theme
            family = self._of_theme[theme](self._rng) if keeps else self._any_family(self._rng)
            if family != other:
                return family, None

    def _next_of(self, project: tuple[int, int | None], owned: set[int]) -> int:
        family, last = project
        if last is not None and self._rng.random() < self._behaviour.buys_successor:
            return self._successor[last]
        return self._mostly_new(self._in_family[family], owned)

    def _mostly_new(self, choice: _Choice, owned: set[int]) -> int:
        """Redraw items that the user already has, a few times."""
        item = choice(self._rng)
        for _ in range(4):
            if item not in owned:
                break
            item = choice(self._rng)
        return item


def simulate(users: int, catalogue: Catalogue, behaviour: Behaviour, rng: random.Random) -> list[list[Purchase]]:
    """Histories of all users, with the few purchases of rare items strewn in."""
    shop = Shop(catalogue, behaviour, rng)
    histories = [shop.history() for _ in range(users)]
    for item in catalogue.rare:
        for user in rng.sample(range(users), min(users, rng.randint(1, 4))):
            history = histories[user]
            place = rng.randrange(len(history))
            history.insert(place, Purchase(item, history[place].day))
    return histories
