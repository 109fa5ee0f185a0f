"""What a passage is found by: whoever asks in another form of the same word finds it, and nothing else changes."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.analysis import JOINED_CHARS_MAX, PARTS_MAX, analyse, analyse_phrase, analyse_query


def words(text: str, analysis: Callable[[str], str] = analyse) -> set[str]:
    """Words as the dictionary takes them: it folds the case of ASCII, and cuts at underscores."""
    return set(analysis(text).lower().replace("_", " ").split())


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("The parser is written in C++.", "c++"),
        ("The parser (in C#) is old", "C#"),
        ("Move to .NET at last", "dotnet"),
        ("ASP.NET Core", "asp.net"),
        ("Written for Vue.js, mostly", "vuejs"),
        ("Written for Vue.js, mostly", "vue"),
        ("call handleOrder() first", "order"),
        ("call handleOrder() first", "handleorder"),
        ("a XMLHttpRequest is made", "http"),
        ("the code ERR-1234 means", "ERR1234"),
        ("the code ERR1234 means", "err 1234"),
        ("the code ERR-1234 means", "1234"),
        ("on port 9092/tcp", "9092"),
        ("write to ada@example.org soon", "example.org"),
        ("see /etc/app/server.toml", "server.toml"),
        ("kept at v2.1.7 for now", "2.1.7"),
        ("sign in by OAuth2", "OAuth 2"),
        ("retry with back-off", "backoff"),
        ("retry with back\u2010off", "back-off"),
        ("le coût dépensé", "cout depense"),
        ("die Größe der Straße", "grosse strasse"),
        ("die Löschung", "loeschung"),
        ("die Löschung", "loschung"),
        ("smørrebrød", "smorrebrod"),
        ("Łódź", "lodz"),
        ("ｋａｆｋａ", "kafka"),
        ("ﬁle", "file"),
        ("データベース", "ﾃﾞｰﾀﾍﾞｰｽ"),
        ("我们使用数据库保存订单", "数据库"),
        ("注文をキューに入れる", "キュー"),
        ("“Kafka” — «broker»", "kafka broker"),
        ("Очередь Сообщений", "очередь сообщений"),
        ("zero\u200bwidth", "zerowidth"),
        ("soft\u00adhyphen", "softhyphen"),
    ],
)
def test_it_is_found_by_another_form_of_its_words(text: str, query: str) -> None:
    asked = words(query, analyse_query)
    # A query in several parts is also one word, which the text need not have.
    assert asked & words(text)
    assert asked <= words(text) or len(asked) > 1


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("written in C", "c++"),
        ("GitHub", "hubgit"),
        ("数据", "据数"),
        ("node", "js"),
        ("a.b.c.d", "abcd"),
        ("net", "dotnet"),
    ],
)
def test_other_words_stay_other_words(text: str, query: str) -> None:
    assert not (words(query, analyse_query) - {"c"}) & words(text)


def test_letters_and_digits_that_stand_together_are_asked_for_as_one() -> None:
    assert "4711" in words("ERR4711")
    assert words("ERR4711", analyse_query) == {"err4711"}
    assert words("C#", analyse_query) == {"csharp"}


@given(st.lists(st.text(string.ascii_lowercase, min_size=1), max_size=30))
def test_plain_words_stay_as_they_are(plain: list[str]) -> None:
    text = " ".join(plain)
    assert analyse(text) == analyse_query(text) == analyse_phrase(text) == text


@given(st.text())
def test_it_is_total_and_a_phrase_stands_first(text: str) -> None:
    phrase = analyse_phrase(text).lower().split()
    for analysed in (analyse(text), analyse_query(text)):
        assert analysed.lower().split()[: len(phrase)] == phrase


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Co", "Cn"))))
def test_the_form_of_a_character_does_not_count(text: str) -> None:
    assert words(unicodedata.normalize("NFD", text)) == words(unicodedata.normalize("NFC", text))


@given(st.text("\u4e00\u4e01\u4e8c\u4e09\u30a2\u30ab\u30b5\u30bf", min_size=2, max_size=30), st.data())
def test_each_part_of_a_text_without_spaces_is_found_as_a_phrase(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 2))
    end = data.draw(st.integers(start + 2, len(text)))
    assert f" {analyse_phrase(text[start:end]).strip()} " in f" {analyse_phrase(text).strip()} "


def test_what_is_added_is_bounded() -> None:
    for odd in ("aB" * 10_000, "a." * 10_000, "a1" * 10_000, "x-" * PARTS_MAX * 2, "a_" * 10_000):
        assert len(analyse(odd)) <= 2 * len(odd) + JOINED_CHARS_MAX
