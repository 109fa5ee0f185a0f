"""Which language a text is written in, as far as its words are found by it.

Owns the languages whose endings are known here, and by which words each is recognised: articles, pronouns, prepositions
and conjunctions, of which prose has a third in any subject. A document has a language, and each passage that clearly
has another one has that. Deterministic and linear: the index and whoever checks it agree. What is wrongly recognised
gets stems that nobody asks for, and loses nothing.

Refuses to guess where little is said: a table, a listing and a name are in no language, and English is left as it is,
since the dictionary is English. Next: `schemas/stems.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

ENGLISH: Final = "en"

FUNCTION_WORDS: Final[dict[str, frozenset[str]]] = {
    language: frozenset(word for word in words.split() if len(word) > 1 or not word.isascii())
    for language, words in {
        ENGLISH: "the of and to in is that it for on with as are be this by was from or an at not we which have has "
        "will can if but they their its all when there been would more no so than then what how do does should must "
        "may only into one our you your use used using a i why who where each any",
        "cs": "a v na se je že s z do o i k pro by jako jsou ale nebo po za od který které která jeho to být při tak "
        "jsme když také není bude pokud však pouze musí může ve ze jsou tento tato",
        "da": "og at det som en et er på af for med den til i ikke de har om vi kan fra var når skal men eller så ved "
        "sig dette må bliver blev efter også hvis kun hvad hvordan",
        "de": "der die das und ist nicht ein eine einen einem einer eines des dem den zu von mit für auf im in an als "
        "auch es sich wir werden wird sind oder aus bei wie nach dass hat haben kann können nur über so wenn zum zur "
        "durch vor noch aber keine kein muss müssen soll diese dieser dieses vom war sie er man "
        "weil jeder jede jedes seine seiner ihre damit dann mehr zwischen ob bis ohne um beim am unter uns unsere",
        "es": "el la los las de del y en un una es que por para con no se al lo como su sus más este esta son pero ser "
        "o cuando sin sobre entre también está puede debe hay ha si cada qué cómo",
        "fi": "ja on ei että se ovat oli tai kun jos mutta niin myös kuin joka mikä sen tämä ne voi vain kanssa sekä "
        "ole eivät jotka olla siitä tämän meidän jossa miten ennen jälkeen pitää",
        "fr": "le la les des du de un une et est en dans pour que qui sur par avec pas ne au aux ce cette ces sont "
        "nous il elle ou plus se être sans comme mais leur son sa ses doit peut été si chaque comment",
        "it": "il lo la i gli le di del della dei delle dello e è un una in che per con non si al alla nel nella da "
        "dal sono come più questo questa ma o anche essere viene può deve se sul ogni quando",
        "nl": "de het een en van in is dat op te voor met zijn niet aan er om ook als bij door naar uit maar of wordt "
        "worden deze dit die hebben heeft kan moet geen we over nog dan wel wij hoe elke",
        "no": "og at det som en et er på av for med den til i ikke de har om vi kan fra var når skal men eller så ved "
        "seg dette må blir ble etter også hvis kun hva hvordan",
        "pl": "i w na z nie się do jest to że o jak po od za dla są oraz przez tak ale lub co może przy być które "
        "który jako tym tego jej przed we ze która jeśli każdy musi",
        "pt": "o a os as de do da dos das e em um uma é que por para com não se ao na no nas nos como mais são ou mas "
        "ser foi sem sobre entre também está pode deve pelo pela esta este cada quando",
        "ru": "и в не на что с по как это для из от к о за при но или а то мы его до есть если так же все также может "
        "быть который которые она они был через после должен должны во",
        "sv": "och att det som en ett är på av för med den till i inte de har om vi kan från var när ska men eller så "
        "vid sig detta måste blir blev efter också än bara hur vad",
    }.items()
}
"""Languages as ISO 639-1 has them; Norwegian is Bokmål. A word of several languages counts for each, and decides
nothing between them. One letter of ASCII is rather a unit or a name than a word."""

_LANGUAGES_OF: Final[dict[str, tuple[str, ...]]] = {
    word: tuple(language for language, words in FUNCTION_WORDS.items() if word in words)
    for word in frozenset[str]().union(*FUNCTION_WORDS.values())
}
DIFFERENT_MIN: Final = 2
"""Different function words below which a text is in no language: a name may have one ("Rio de Janeiro")."""
WORDS_A_HIT_MAX: Final = 12
"""Words for each function word. Prose has one in three, a listing of another language's keywords one in fifty."""
PASSAGE_DIFFERENT_MIN: Final = 3
PASSAGE_LEAD: Final = 2
"""A passage is in another language than its document where it has so many different words of that one, and so many
times more of them than of the document's."""


def read_languages(title: str, passages: Sequence[str]) -> tuple[str | None, list[str | None]]:
    """The language of a document, and that of each passage. None: it is unknown, or none whose endings are known."""
    found = [_find(passage) for passage in passages]
    whole = _find(title)
    language = _decide(
        [word for each in (whole, *found) for word in each.joining], whole.words + sum(each.words for each in found)
    )
    return _foreign(language), [_foreign(_decide_passage(each, language)) for each in found]


def read_language(text: str) -> str | None:
    """The language of a short text, such as a query, which may be English; None where that is not certain."""
    return _decide(*_find(text))


def is_function_word(word: str, language: str | None) -> bool:
    """Whether a word in small letters only joins others in a language, or, where that is unknown, in any."""
    return word in (_LANGUAGES_OF if language is None else FUNCTION_WORDS[language])


def _foreign(language: str | None) -> str | None:
    return None if language == ENGLISH else language


class _WordsFound(NamedTuple):
    """The function words of a text, of any language, and how many words it has."""

    joining: list[str]
    words: int


def _find(text: str) -> _WordsFound:
    """A word with a sign is not one: to look closer takes time, changes little, and would take lists of codes for words
    ("de, en, fr")."""
    words = text.lower().split()
    return _WordsFound([*filter(_LANGUAGES_OF.__contains__, words)], len(words))


class _Hits(NamedTuple):
    """How many function words of a language there are. English wins a draw, so that it is left alone."""

    times: int
    is_english: bool
    different: int
    language: str


def _most(joining: Sequence[str], words: int, different_min: int) -> _Hits | None:
    """The language that most words are of, if they are enough."""
    times: Counter[str] = Counter()
    different: Counter[str] = Counter()
    for word, n in Counter(joining).items():
        for language in _LANGUAGES_OF[word]:
            times[language] += n
            different[language] += 1
    # In the order of the alphabet, so that of equal ones always the same is taken.
    found = [_Hits(times[each], each == ENGLISH, different[each], each) for each in sorted(times)]
    enough = [each for each in found if each.different >= different_min]
    most = max(enough, key=lambda each: each[:3], default=None)
    return most if most and most.times * WORDS_A_HIT_MAX >= words else None


def _decide(joining: Sequence[str], words: int) -> str | None:
    most = _most(joining, words, DIFFERENT_MIN)
    return most.language if most else None


def _decide_passage(found: _WordsFound, of_document: str | None) -> str | None:
    """Most passages are decided by the language of their document alone: no other one can have enough words."""
    own = FUNCTION_WORDS[of_document] if of_document else frozenset[str]()
    needed = max(PASSAGE_DIFFERENT_MIN, PASSAGE_LEAD * sum(map(own.__contains__, found.joining)))
    if len(found.joining) < needed:
        return of_document
    most = _most(*found, PASSAGE_DIFFERENT_MIN)
    return most.language if most and most.times >= needed else of_document
