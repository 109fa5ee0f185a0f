"""Pages of HTML of which every word is known: put together from constructs, each of which says what a browser shows.

Knows the language from its side, that of somebody who writes it, and nothing of how it is read.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape

from tests.connectors.parsers.known import Known


@dataclass
class Written(Known):
    """A page while it is written."""

    form = "ve{}{}y"
    styles: list[str] = field(default_factory=list)

    def pick(self, *choices: str) -> str:
        return self.random.choice(choices)


Construct = Callable[[Written], str]


def start(seed: int) -> Written:
    return Written(random.Random(seed))


# --- what stands in a line ------------------------------------------------------------------------------------------


def plain(d: Written) -> str:
    return f" {d.word()} "


def split(d: Written) -> str:
    word = d.word()
    tag = d.pick("b", "i", "span", "font", "my-part", "a", "mark", "o:p", "u", "small", "code")
    return f" {word[:2]}<{tag}>{word[2:4]}</{tag}>{word[4:]} "


def entity(d: Written) -> str:
    word = d.word()
    return f" {word[:2]}&#{ord(word[2])};{word[3:]} " if d.random.random() < 0.5 else f" {word[:3]}&shy;{word[3:]} "


def broken_line(d: Written) -> str:
    return f"{d.word()}<br>{d.word()}"


def inline_tag(d: Written) -> str:
    tag = d.pick("b", "em", "q", "cite", "kbd", "samp", "var", "abbr", "time", "data", "ins", "del", "s", "dfn", "bdo")
    return f"<{tag}>{inline(d)}</{tag}>"


def picture(d: Written) -> str:
    return d.pick('<img src="a.png" alt="{}">', "<img alt='{}' src=data:,x>", "<input type=image alt={}>").format(
        d.word()
    )


def value(d: Written) -> str:
    kind = d.pick("text", "submit", "button", "search", "email", "reset", "number")
    return f'<input type="{kind}" value="{d.word()}" name="n">'


def placeholder(d: Written) -> str:
    return (
        f"<input placeholder={d.word()}>"
        if d.random.random() < 0.5
        else f"<textarea placeholder={d.word()}></textarea>"
    )


def hidden_value(d: Written) -> str:
    kind = d.pick("hidden", "password", "checkbox", "radio", "range")
    return f'<input type="{kind}" value="{d.hidden(d.word)}">'


def text_area(d: Written) -> str:
    return f"<textarea>{d.word()}\n{d.word()}</textarea>"


def selection(d: Written) -> str:
    return f"<select><optgroup label={d.word()}><option>{d.word()}<option value=v>{d.word()}</optgroup></select>"


def button(d: Written) -> str:
    return f"<button type=button>{inline(d)}</button><button>{d.word()}</button>"


def label(d: Written) -> str:
    return f"<label for=x>{inline(d)} <input id=x></label>"


def annotated(d: Written) -> str:
    base, above = d.word(), d.word()
    return f"<ruby>{base}<rp>(</rp><rt>{above}</rt><rp>)</rp></ruby>"


def drawing(d: Written) -> str:
    return (
        f"<svg viewBox='0 0 9 9'><title>{d.word()}</title><g><text x=1>{d.word()}</text><text>"
        f"<tspan>{d.word()}</tspan></text>"
        f"</g><text><![CDATA[{d.word()}]]></text></svg>"
    )


def formula(d: Written) -> str:
    return (
        f"<math><semantics><mrow><mi>{d.word()}</mi><mo>=</mo><mfrac><mi>{d.word()}</mi><mi>{d.word()}</mi>"
        "</mfrac></mrow>"
        f"<annotation encoding='application/x-tex'>{d.hidden(d.word)}</annotation></semantics></math>"
    )


def remark(d: Written) -> str:
    return f"<!-- {d.hidden(d.word)} -->"


def script(d: Written) -> str:
    return d.pick(
        "<script>var a = '{}';</script>",
        '<script type=\'application/json\'>{{"a": "{}"}}</script>',
        "<style>.{} {{ color: red }}</style>",
        "<template><p>{}</p></template>",
        "<noscript><p>{}</p></noscript>",
        "<datalist><option>{}</option></datalist>",
        "<video src=a>{}</video>",
        "<canvas>{}</canvas>",
        "<iframe src=about:blank>{}</iframe>",
        "<progress max=9 value=3>{}</progress>",
    ).format(d.hidden(d.word))


def hidden_span(d: Written) -> str:
    start = d.pick(
        '<span style="display:none">',
        '<span style="color:red;DISPLAY : NONE !important;">',
        "<span hidden>",
        '<span hidden="">',
        '<span style="visibility: hidden">',
        '<span class="x gone">',
        "<span id=gone>",
        "<em class='gone'>",
    )
    d.styles.append(".gone { display: none } #gone { visibility: hidden; }")
    return f"{start}{d.hidden(lambda: inline(d))}</{start[1:5].strip(' >')}>"


def shown_span(d: Written) -> str:
    """Looks hidden, and is not: by a stronger or a later rule, or on screens alone."""
    start = d.pick(
        '<span class="once" style="display:inline">',
        '<span class="once later">',
        '<span class="menu">',
        '<span class="printed">',
        '<span data-style="display:none">',
        '<span hidden="until-found">',
        '<span class="gones">',
        '<span aria-hidden="true">',
    )
    d.styles.append(
        ".once{display:none}.later{display:inline}.menu{display:none}li:hover > .menu{display:block}"
        "@media print { .printed { display: none } }"
    )
    return f"{start}{inline(d)}</span>"


def frame(d: Written) -> str:
    inner = f"<p>{d.word()}</p><p hidden>{d.hidden(d.word)}</p>"
    return f'<iframe srcdoc="{escape(inner)}"></iframe>'


LEAVES: tuple[Construct, ...] = (
    plain, split, entity, broken_line, picture, value, placeholder, hidden_value, text_area, selection, annotated,
    drawing, formula, remark, script, frame,
)  # fmt: skip
WRAPPERS: tuple[Construct, ...] = (inline_tag, button, label, hidden_span, shown_span)
DEPTH_MAX = 5


def inline(d: Written) -> str:
    d.depth += 1
    deep = d.depth > DEPTH_MAX
    choices = LEAVES if deep or d.random.random() < 0.6 else WRAPPERS
    if d.hiding:
        choices = (plain, split)
    made = f" {d.random.choice(choices)(d)} "
    d.depth -= 1
    return made


# --- what has lines of its own --------------------------------------------------------------------------------------


def block_tag(d: Written) -> str:
    tag = d.pick(
        "p", "div", "section", "article", "address", "aside", "header", "footer", "nav", "main", "center", "dir"
    )
    inner = inline(d) if tag == "p" else blocks(d, 2)
    return f"<{tag}>{inner}</{tag}>"


def close_together(d: Written) -> str:
    """Blocks without white space between them are not one word."""
    tags = [d.pick("p", "div", "h4", "li", "dt", "pre", "blockquote") for _ in range(3)]
    return "".join(f"<{tag}>{d.word()}</{tag}>" for tag in tags)


def styled_lines(d: Written) -> str:
    d.styles.append(".line { display: block }")
    return f'<span class=line>{d.word()}</span><span class=line>{d.word()}</span><b style="display:flex">{d.word()}</b>'


def heading(d: Written) -> str:
    level = d.random.randint(1, 6)
    return f"<h{level}>{inline(d)}</h{level}>"


def bare(d: Written) -> str:
    return inline(d)


def unclosed(d: Written) -> str:
    return f"<p>{d.word()}<p>{d.word()}<ul><li>{d.word()}<li>{d.word()}</ul>"


def listing(d: Written) -> str:
    tag = d.pick("ul", "ol", "ol start=7", "menu")
    items = "".join(
        f"<li>{d.pick('', '<p>')}{inline(d)}{listing(d) if d.random.random() < 0.2 else ''}</li>" for _ in "ab"
    )
    return f"<{tag}>{items}</{tag.split()[0]}>"


def terms(d: Written) -> str:
    return f"<dl><dt>{inline(d)}</dt><dd>{blocks(d, 1)}</dd></dl>"


def folded(d: Written) -> str:
    return f"<details{d.pick('', ' open')}><summary>{inline(d)}</summary>{blocks(d, 1)}</details>"


def figure(d: Written) -> str:
    return f"<figure><img src=x>{d.pick('', '<hr>')}<figcaption>{inline(d)}</figcaption></figure>"


def form(d: Written) -> str:
    return f"<form><fieldset><legend>{inline(d)}</legend>{blocks(d, 2)}</fieldset></form>"


def quote(d: Written) -> str:
    return f"<blockquote>{blocks(d, 1)}</blockquote>"


def code(d: Written) -> str:
    tag = d.pick("pre", "xmp", "listing")
    return f"<{tag}>{d.word()}\n   {d.word()}\n```\n{d.word()}</{tag}>"


def grid(d: Written) -> str:
    head = f"<caption>{d.word()}</caption><thead><tr><th>{inline(d)}<th>{d.word()} | {d.word()}</thead>"
    rows = "".join(
        f"<tr><td>{inline(d)}</td><td>{d.pick(d.word(), '') if d.hiding else d.word()}</td></tr>" for _ in "ab"
    )
    return f"<table>{head}<tbody>{rows}</tbody><tfoot><tr><td>{d.word()}</tfoot></table>"


def layout(d: Written) -> str:
    return f"<table><tr><td>{blocks(d, 2)}</td><td>{blocks(d, 1)}</td></tr></table>"


def hidden_block(d: Written) -> str:
    start = d.pick("<div hidden>", '<div style="display:none">', "<dialog>", '<div class="away">')
    d.styles.append("div.away, p.away { margin: 0; display: none; }")
    return (
        f"{start}{d.hidden(lambda: f'<p>{d.word()}</p>{d.word()}')}</{start[1:4] if start != '<dialog>' else 'dialog'}>"
    )


def open_dialog(d: Written) -> str:
    return f"<dialog open>{blocks(d, 1)}</dialog>"


def shadow(d: Written) -> str:
    return f"<my-card><template shadowrootmode=open><p>{d.word()}</p></template></my-card>"


BLOCKS: tuple[Construct, ...] = (
    block_tag, close_together, styled_lines, heading, bare, unclosed, listing, terms, folded, figure, form, quote, code,
    grid, layout, hidden_block, open_dialog, shadow,
)  # fmt: skip


def blocks(d: Written, number: int) -> str:
    d.depth += 1
    choices = (heading, bare, unclosed) if d.depth > DEPTH_MAX else BLOCKS
    made = "".join(d.random.choice(choices)(d) for _ in range(number))
    d.depth -= 1
    return made


def pack(d: Written, body: str, *, encoding: str = "utf-8", head: str = "") -> bytes:
    styles = f"<style>{' '.join(dict.fromkeys(d.styles))}</style>" if d.styles else ""
    page = f"<!doctype html><html><head><title>title</title>{head}{styles}</head><body>{body}</body></html>"
    return page.encode(encoding)


def write(seed: int) -> tuple[bytes, list[str], list[str]]:
    """A page made at random: its bytes, the words that a browser shows, those that it does not."""
    d = start(seed)
    body = blocks(d, d.random.randint(2, 6)) + f"<p>{d.word()}</p>"
    return pack(d, body), d.seen, d.unseen
