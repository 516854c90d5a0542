"""Minimal pairs of English sentences from templates: one is right, the other breaks one rule.

In the manner of BLiMP (Warstadt et al. 2020, arXiv 1912.00582): both sentences have the same
words but one (or the same words in another order), and a model is right where it gives the good
sentence the higher likelihood.  The lexicon is small and common, the items are the same
everywhere, and chance is one half.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

GROUP = "minimal_pairs"
ITEMS = 100  # per phenomenon

# (one, several)
_PEOPLE = (
    ("man", "men"), ("woman", "women"), ("boy", "boys"), ("girl", "girls"), ("child", "children"),
    ("king", "kings"), ("teacher", "teachers"), ("soldier", "soldiers"), ("farmer", "farmers"),
    ("captain", "captains"), ("doctor", "doctors"), ("sailor", "sailors"), ("friend", "friends"),
    ("servant", "servants"), ("officer", "officers"), ("citizen", "citizens"),
)  # fmt: skip
_THINGS = (
    ("house", "houses"), ("book", "books"), ("ship", "ships"), ("letter", "letters"),
    ("door", "doors"), ("table", "tables"), ("road", "roads"), ("law", "laws"), ("hat", "hats"),
    ("boat", "boats"), ("horse", "horses"), ("tree", "trees"), ("river", "rivers"),
    ("question", "questions"),
)  # fmt: skip
_MEN = ("man", "boy", "king", "father", "brother", "son", "uncle", "husband")
_WOMEN = ("woman", "girl", "queen", "mother", "sister", "daughter", "aunt", "wife")
_HE_OR_THEY = (
    ("man", "men"), ("boy", "boys"), ("king", "kings"), ("soldier", "soldiers"),
    ("captain", "captains"), ("sailor", "sailors"), ("brother", "brothers"), ("son", "sons"),
)  # fmt: skip
# base, with -s, past, participle; past and participle differ
_VERBS = (
    ("see", "sees", "saw", "seen"), ("know", "knows", "knew", "known"),
    ("take", "takes", "took", "taken"), ("give", "gives", "gave", "given"),
    ("write", "writes", "wrote", "written"), ("break", "breaks", "broke", "broken"),
    ("choose", "chooses", "chose", "chosen"), ("forget", "forgets", "forgot", "forgotten"),
    ("draw", "draws", "drew", "drawn"), ("steal", "steals", "stole", "stolen"),
)  # fmt: skip
_REFLEXIVE = ("saw", "knew", "hurt", "blamed", "praised", "helped", "hid", "served")
_ADJECTIVES = ("old", "young", "good", "great", "small", "new", "poor", "strong", "little", "long")
_PLACES = ("near", "behind", "beside", "with", "before")
_DEMONSTRATIVES = (("this", "these"), ("that", "those"))


@dataclass(frozen=True)
class Pair:
    """A right sentence and a wrong one."""

    good: str
    bad: str


def items(phenomenon: str) -> list[dict[str, Any]]:
    """Return the items of a phenomenon in the shape of the other offline tasks.

    The right sentence stands first or second by chance; there is no context.
    """
    make = PHENOMENA[phenomenon]
    rng = random.Random(f"genesys_engine.minimal_pairs/{phenomenon}")
    pairs: dict[Pair, None] = {}
    while len(pairs) < ITEMS:
        pairs[make(rng)] = None
    found = []
    for pair in pairs:
        choices = [pair.good, pair.bad]
        rng.shuffle(choices)
        found.append({"context": "", "choices": choices, "label": choices.index(pair.good)})
    return found


def _several(rng: random.Random) -> int:
    return rng.randrange(2)


def _verb_agreement(rng: random.Random) -> Pair:
    """The verb agrees with its subject: The farmers know / knows the road."""
    number = _several(rng)
    subject, verb = rng.choice(_PEOPLE)[number], rng.choice(_VERBS)
    thing = rng.choice(_THINGS)[_several(rng)]
    forms = verb[:2] if number else verb[1::-1]
    return Pair(*(f"The {subject} {form} the {thing}." for form in forms))


def _verb_agreement_across(rng: random.Random) -> Pair:
    """It does so across a noun of the other number: The boys near the king see / sees ..."""
    number = _several(rng)
    subject, near = rng.choice(_PEOPLE)[number], rng.choice(_PEOPLE)[1 - number]
    place, verb = rng.choice(_PLACES), rng.choice(_VERBS)
    forms = verb[:2] if number else verb[1::-1]
    thing = rng.choice(_THINGS)[_several(rng)]
    return Pair(*(f"The {subject} {place} the {near} {form} the {thing}." for form in forms))


def _auxiliary_agreement(rng: random.Random) -> Pair:
    """The auxiliary agrees with its subject: The letters were / was lost."""
    number = _several(rng)
    subject = rng.choice(_PEOPLE + _THINGS)[number]
    adjective = rng.choice(_ADJECTIVES)
    auxiliary = rng.choice((("was", "were"), ("is", "are"), ("has been", "have been")))
    good, bad = auxiliary[number], auxiliary[1 - number]
    return Pair(*(f"The {subject} {form} very {adjective}." for form in (good, bad)))


def _determiner_noun(rng: random.Random) -> Pair:
    """The demonstrative agrees with its noun: these books / this books."""
    number = _several(rng)
    noun, pair = rng.choice(_THINGS)[number], rng.choice(_DEMONSTRATIVES)
    person, verb = rng.choice(_PEOPLE)[_several(rng)], rng.choice(_VERBS)[2]
    good, bad = pair[number], pair[1 - number]
    return Pair(*(f"The {person} {verb} {form} {noun}." for form in (good, bad)))


def _determiner_adjective_noun(rng: random.Random) -> Pair:
    """It does so across an adjective: these old books / this old books."""
    number = _several(rng)
    noun, pair = rng.choice(_THINGS)[number], rng.choice(_DEMONSTRATIVES)
    person, verb = rng.choice(_PEOPLE)[_several(rng)], rng.choice(_VERBS)[2]
    adjective = rng.choice(_ADJECTIVES)
    good, bad = pair[number], pair[1 - number]
    return Pair(*(f"The {person} {verb} {form} {adjective} {noun}." for form in (good, bad)))


def _anaphor_gender(rng: random.Random) -> Pair:
    """A reflexive agrees in gender: The queen saw herself / himself."""
    woman = _several(rng)
    person, verb = rng.choice(_WOMEN if woman else _MEN), rng.choice(_REFLEXIVE)
    forms = ("herself", "himself") if woman else ("himself", "herself")
    adverb = rng.choice(("", " again", " at last", " that day"))
    return Pair(*(f"The {person} {verb} {form}{adverb}." for form in forms))


def _anaphor_number(rng: random.Random) -> Pair:
    """A reflexive agrees in number: The boys hurt themselves / himself."""
    several = _several(rng)
    one, many = rng.choice(_HE_OR_THEY)
    verb, adverb = rng.choice(_REFLEXIVE), rng.choice(("", " again", " at last", " that day"))
    forms = ("themselves", "himself") if several else ("himself", "themselves")
    subject = many if several else one
    return Pair(*(f"The {subject} {verb} {form}{adverb}." for form in forms))


def _participle(rng: random.Random) -> Pair:
    """`have` takes the participle: The man has taken / took the horse."""
    number, verb = _several(rng), rng.choice(_VERBS)
    person, thing = rng.choice(_PEOPLE)[number], rng.choice(_THINGS)[_several(rng)]
    auxiliary = ("has", "have")[number]
    return Pair(*(f"The {person} {auxiliary} {form} the {thing}." for form in verb[:1:-1]))


def _adjective_order(rng: random.Random) -> Pair:
    """An adjective stands before its noun: the old house / the house old."""
    person, verb = rng.choice(_PEOPLE)[_several(rng)], rng.choice(_VERBS)[2]
    adjective, noun = rng.choice(_ADJECTIVES), rng.choice(_THINGS)[_several(rng)]
    orders = (f"{adjective} {noun}", f"{noun} {adjective}")
    return Pair(*(f"The {person} {verb} the {order}." for order in orders))


PHENOMENA: dict[str, Callable[[random.Random], Pair]] = {
    "verb_agreement": _verb_agreement,
    "verb_agreement_across": _verb_agreement_across,
    "auxiliary_agreement": _auxiliary_agreement,
    "determiner_noun": _determiner_noun,
    "determiner_adjective_noun": _determiner_adjective_noun,
    "anaphor_gender": _anaphor_gender,
    "anaphor_number": _anaphor_number,
    "participle": _participle,
    "adjective_order": _adjective_order,
}
"""Name of a phenomenon -> what makes one of its pairs."""
