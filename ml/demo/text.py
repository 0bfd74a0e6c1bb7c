"""Text of the demo dump: invented brands, generic product words, the keys of the 2018 release.

Items of one family share the word of their project and that of their theme, and a few brands, so that text
similarity finds the family; what an item is within its family (a tray, a gauge) is said in words that all
families share.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime

from ml.demo.behaviour import Catalogue, Purchase

DAY_SECONDS = 86_400
TOP_CATEGORY = "Demo"

THEMES = {
    "Garden": "Irrigation Composting Pruning Greenhouse Lawn Birdhouse Pond Seedling",
    "Kitchen": "Baking Pickling Espresso Fermenting Sharpening Spice Pasta Canning",
    "Workshop": "Sanding Soldering Clamping Drilling Welding Woodturning Gluing Measuring",
    "Camping": "Tent Hammock Lantern Stove Hydration Backpack Firestarter Navigation",
    "Cycling": "Brake Drivetrain Tubeless Headlight Pannier Saddle Handlebar Pedal",
    "Painting": "Watercolor Acrylic Easel Canvas Airbrush Charcoal Calligraphy Varnish",
    "Aquarium": "Filtration Aquascape Heating Coral Feeding Gravel Shrimp Plankton",
    "Sewing": "Quilting Embroidery Knitting Crochet Tailoring Felting Leather Weaving",
    "Office": "Filing Labeling Binding Shipping Laminating Whiteboard Desk Stapling",
    "Fitness": "Yoga Climbing Rowing Kettlebell Swimming Running Boxing Stretching",
}


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


PARTS = _listed(
    "Starter Kit|Refill Pack|Storage Case|Replacement Cartridge|Cleaning Brush|Adapter|Holder|Carrying Bag|"
    "Protective Cover|Gloves|Handbook|Spare Parts Set|Mounting Bracket|Extension|Timer|Gauge|Lubricant|Marker|"
    "Tray|Clip Set|Strap|Mat|Funnel|Stand"
)
QUALITIES = _listed(
    "Compact|Heavy Duty|Professional|Portable|Adjustable|Waterproof|Stainless Steel|Foldable|Lightweight|"
    "Reusable|Non-Slip|Rechargeable|Extra Strong|Classic|Universal|Premium"
)
SIZES = _listed("Small|Medium|Large|2-Pack|3-Pack|6-Pack|10 Inch|18 Inch|12 oz|24 oz|Black|Green|Blue|Red")
BRANDS = _listed(
    "Norvalle|Tessmarck|Quillborne|Bramwick|Ostrafen|Kelderra|Virenko|Hallowpine|Marrowby|Zenthoria|Pellucca|"
    "Drummetvane|Oskmoor|Fennimoor|Galtharp|Ilvermont|Jassenby|Luthermoss|Wexelade|Ybarrow"
)
_OPINIONS = _listed(
    "Works as described and arrived on time.|I use it nearly every weekend.|Not sure it will last, but so far "
    "so good.|The size is just right for what I do.|Bought a second one for my sister.|A little smaller than "
    "I expected.|Easy to set up, no instructions needed.|The finish could be better for this price.|Would buy "
    "it again without a second thought.|Broke after two months,\nthe seller sent a new one.|Does one thing and "
    "does it well.|My neighbor told me &#34;years ago&#34; and was right.|Good value.<br /><br />Recommended."
)
_SUMMARIES = {
    1: _listed("One Star|Do not bother|Broke at once"),
    2: _listed("Two Stars|Not what I hoped for|Meh"),
    3: _listed("Three Stars|It is okay|Does the job, barely"),
    4: _listed("Four Stars|Good, with one flaw|Nearly perfect"),
    5: _listed("Five Stars|Just right|Exactly what I needed"),
}
_FIRST_NAMES = _listed("Alda|Benno|Corin|Dagny|Edda|Fenn|Gerrit|Hella|Iven|Jorun|Kaspar|Linnea|Merle|Nils|Orla")


class Wording:
    """The texts of a catalogue: fixed for each item, drawn for each review."""

    def __init__(self, catalogue: Catalogue, rng: random.Random) -> None:
        self._rng = rng
        themes = list(THEMES)
        projects = {theme: words.split() for theme, words in THEMES.items()}
        self.asins = _codes("B0", 10, len(catalogue.family_of), rng)
        self.titles: list[str] = [""] * len(self.asins)
        self.brands: list[str] = [""] * len(self.asins)
        self.categories: list[list[str]] = [[]] * len(self.asins)
        self._nouns: list[str] = [""] * len(self.asins)
        used: dict[str, int] = {}
        for family, members in enumerate(_members(catalogue)):
            theme = themes[catalogue.theme_of[family]]
            turn, place = divmod(family // len(themes), len(projects[theme]))
            project = projects[theme][place] + (f" Series {turn + 1}" if turn else "")
            brands = rng.sample(BRANDS, 3)
            parts = rng.sample(PARTS, len(PARTS))
            for place, item in enumerate(members):
                part, brand = parts[place % len(parts)], brands[place * len(brands) // len(members)]
                title = f"{brand} {theme} {project} {part}, {rng.choice(QUALITIES)}, {rng.choice(SIZES)}"
                used[title] = used.get(title, 0) + 1
                self.titles[item] = title if used[title] == 1 else f"{title}, Model {used[title]}"
                self.brands[item] = brand
                self.categories[item] = [TOP_CATEGORY, theme, project, part]
                self._nouns[item] = f"{project} {part}".lower()

    def review(self, reviewer: tuple[str, str], purchase: Purchase, rating: int) -> dict:
        """One review, its keys in the order of the release; ``reviewer`` is an ID and a name."""
        rng = self._rng
        row: dict = {"overall": float(rating)}
        if rng.random() < 0.24:
            row["vote"] = f"{1 + int(rng.paretovariate(0.8)):,}"
        row["verified"] = rng.random() < 0.85
        row["reviewTime"] = _review_time(purchase.day)
        row["reviewerID"], row["asin"] = reviewer[0], self.asins[purchase.item]
        if rng.random() < 0.4:
            row["style"] = {"Size:": f" {rng.choice(SIZES)}"}
        row["reviewerName"] = reviewer[1]
        row["reviewText"], row["summary"] = self.opinion(purchase.item, rating)
        row["unixReviewTime"] = purchase.day * DAY_SECONDS
        if rng.random() < 0.01:
            row["image"] = [f"https://images.example.com/reviews/{rng.getrandbits(40):010x}.jpg"]
        return row

    def opinion(self, item: int, rating: int) -> tuple[str, str]:
        """Text and summary of a review."""
        rng = self._rng
        said = " ".join(rng.sample(_OPINIONS, rng.randint(1, 4)))
        return f"This {self._nouns[item]}: {said}", rng.choice(_SUMMARIES[rating])

    def metadata(self, item: int, price: str, others: list[int]) -> dict:
        """One row of metadata with all 19 keys; ``others`` are items bought or viewed together with it."""
        rng = self._rng
        title, asin, theme = self.titles[item], self.asins[item], self.categories[item][1]
        links = [self.asins[other] for other in others]
        image = f"https://images.example.com/items/{asin}"
        return {
            "category": self.categories[item],
            "tech1": "",
            "description": [f"{title}. {rng.choice(QUALITIES)} and made to last."] if rng.random() < 0.85 else [],
            "fit": "",
            "title": title,
            "also_buy": links[: len(links) // 2],
            "tech2": "",
            "brand": self.brands[item],
            "feature": [f"{rng.choice(QUALITIES)} build", f"Fits {rng.choice(SIZES)}"] if rng.random() < 0.5 else [],
            "rank": f"{rng.randint(1, 99_999):,} in {theme} (" if rng.random() < 0.6 else [],
            "also_view": links[len(links) // 2 :],
            "details": {"Shipping: ": "Ships within the country only", "ASIN: ": asin},
            "main_cat": theme if rng.random() < 0.97 else "",
            "similar_item": "",
            "date": "",
            "price": price,
            "asin": asin,
            "imageURL": [f"{image}._SX38_.jpg"],
            "imageURLHighRes": [f"{image}.jpg"],
        }

    def reviewers(self, count: int) -> list[tuple[str, str]]:
        """An ID and a name for each of some users."""
        rng = self._rng
        ids = _codes("A", 14, count, rng)
        return [(code, f"{rng.choice(_FIRST_NAMES)} {rng.choice('ABCDEFGHJKLMNPRSTVW')}.") for code in ids]


def _members(catalogue: Catalogue) -> list[list[int]]:
    """The items of each family, those outside its ring at the end."""
    members = [list(family) for family in catalogue.families]
    for item in (*catalogue.rare, *catalogue.unsold):
        members[catalogue.family_of[item]].append(item)
    return members


def _codes(start: str, length: int, count: int, rng: random.Random) -> list[str]:
    letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    codes: dict[str, None] = {}
    while len(codes) < count:
        codes[start + "".join(rng.choices(letters, k=length - len(start)))] = None
    return list(codes)


def _review_time(day: int) -> str:
    """As in the release: month with two digits, day without a leading zero."""
    date = datetime.fromtimestamp(day * DAY_SECONDS, UTC)
    return f"{date.month:02d} {date.day}, {date.year}"
