r"""What people can tell by looking: whether a text says something, and whether two names read the same.

What may live here: pure functions of text and of what Unicode says about characters. Somebody who would rather not
give a ground writes one of characters that show nothing; somebody who would approve twice goes by a name that only a
machine tells from his own; and a rule's id can hold a line break and what looks like a receipt's next sentence.

Which characters show nothing is written down here rather than asked of ``unicodedata``, so that workers whose Python
has another edition of Unicode agree on what they accept. Letters of two scripts that look alike are not caught.
"""

import re
from functools import lru_cache
from typing import Final
from unicodedata import category, combining, normalize

_SPACES: Final = r"\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_IGNORED: Final = (
    r"\u0000-\u0008\u000e-\u001b\u007f-\u0084\u0086-\u009f"  # controls that are no space
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    r"\u2800"  # the Braille pattern without dots
)
"""Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt), and the few others that show nothing."""

SAYS_SOMETHING: Final = f"[^{_SPACES}{_IGNORED}]"
"""A regular expression that finds a character that can be seen; ECMA-262's and Python's alike."""
_seen: Final = re.compile(SAYS_SOMETHING).search
_without_ignored: Final = re.compile(f"[{_IGNORED}]").sub

_JOINERS: Final = "\u200c\u200d"
"""Format characters that some scripts cannot be written without."""
_SINGLED: Final = str.maketrans(dict.fromkeys('"“”„‟«»〝〞〟＂', "'"))


def says_something(text: str) -> bool:
    """Whether there is anything to be seen."""
    return _seen(text) is not None


def likeness(name: str) -> str:
    """What names share that people cannot tell apart, or only by an accent; the names of two people should not.

    Compatible forms, upper and lower case are one (Unicode's compatibility caseless match, chapter 3.13); accents,
    characters that show nothing and how much space there is make no difference.
    """
    folded = normalize("NFKD", normalize("NFKD", name).casefold())
    bare = "".join([character for character in folded if not combining(character)])
    return " ".join(_without_ignored("", bare).split())


@lru_cache(maxsize=1024)  # a document's words, again for each whom it removes
def in_quotation_marks(words: str) -> str:
    """Somebody's words as they can stand between quotation marks, where a reader sees that they are theirs.

    On one line, with single quotation marks for double ones, and without characters that turn the direction of what
    follows: nothing in them ends the quotation.
    """
    words = words.translate(_SINGLED)
    if words.isprintable():
        return words
    return "".join([_printable(character) for character in words])


def _printable(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    return "" if category(character) == "Cf" else " "
