"""The vocabulary: ISO 3166 as pycountry carries it. The edition is pinned with the package (ruling 9)."""

from functools import cache
from importlib.metadata import version

import pycountry

from streams.core.facts import Vocabulary


@cache
def vocabulary() -> Vocabulary:
    """ISO 3166-1 countries and ISO 3166-2 subdivisions of the installed pycountry."""
    return Vocabulary(
        f"ISO 3166 (pycountry {version('pycountry')})",
        (country.alpha_2 for country in pycountry.countries),
        (subdivision.code for subdivision in pycountry.subdivisions),
    )
