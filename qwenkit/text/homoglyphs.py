"""Letters of one script that look like those of another.

TWINS is what attacks and their cure share: a letter stands for its exact twin, so a text may be shown
and trained on with them undone. LOOK_ALIKES is far wider and forgets case: for comparing two texts alone.
"""

import re

# Latin letter -> its twins. Those of RAID's homoglyph attack; the first is Cyrillic where there is one.
TWINS: dict[str, str] = {
    "A": "\u0410\u0391",
    "B": "\u0412\u0392",
    "C": "\u0421",
    "E": "\u0415\u0395",
    "H": "\u041d\u0397",
    "I": "\u0406\u0399",
    "K": "\u041a\u039a",
    "M": "\u041c\u039c",
    "N": "\u039d",
    "O": "\u041e\u039f",
    "P": "\u0420\u03a1",
    "T": "\u0422\u03a4",
    "X": "\u0425\u03a7",
    "Z": "\u0396",
    "a": "\u0430",
    "c": "\u0441",
    "e": "\u0435",
    "i": "\u0456",
    "o": "\u043e",
    "p": "\u0440",
    "x": "\u0445",
    "y": "\u0443",
}
# Further ones that are met in the wild, beyond what RAID uses.
_MORE_TWINS = {
    "J": "\u0408",
    "S": "\u0405",
    "Y": "\u03a5\u04ae",
    "d": "\u0501",
    "h": "\u04bb",
    "j": "\u0458",
    "l": "\u04cf",
    "o": "\u03bf",
    "q": "\u051b",
    "s": "\u0455",
    "v": "\u03bd",
    "w": "\u051d",
}
# Letters that look Latin and that no Unicode normal form folds: those of other scripts and the phonetic ones
# that homoglyph attacks draw on. In both cases, as some look alike in one alone (Greek eta is an H or an n).
LOOK_ALIKES = {
    **{"a": "аАɑαΑᴀᎪ", "b": "вВЬƅβΒʙᏴƀ", "c": "сСϲϹᴄᏟƈ", "d": "ԁᴅᎠđɗ", "e": "еЕєεΕᴇᎬҽɇ", "f": "ϝϜƒꜰ"},
    **{"g": "ɡɢԌցᏀɠ", "h": "һҺнНʜΗհᎻħ", "i": "іІıɩιΙɪᎥɨ", "j": "јЈϳʝᴊյᎫ", "k": "кКκΚᴋᏦƙ", "l": "ӏӀʟᏞłⳑǀƖ"},
    **{"m": "мМϻΜᴍᎷɱ", "n": "пηɴΝոռɲ", "o": "оОοΟᴏօσø", "p": "рРρΡᴘᏢƥ", "q": "ԛԚգզ", "r": "гɾʀᎡᏒɼ"},
    **{"s": "ѕЅꜱᏚʂ", "t": "тТτΤᴛᎢŧƭ", "u": "υսᴜʋц", "v": "ѵѴνᴠᏙ", "w": "ԝԜωᴡᎳɯ", "x": "хХχΧ"},
    **{"y": "уУүγΥʏᎩƴ", "z": "ᴢΖζʐᏃƶ"},
}
_TO_LATIN = str.maketrans(
    {twin: latin for table in (TWINS, _MORE_TWINS) for latin, twins in table.items() for twin in twins}
)
_ANY_TWIN = re.compile(f"[{''.join(map(chr, _TO_LATIN))}]")
_LATIN = re.compile("[A-Za-z]")
_CYRILLIC_OR_GREEK = re.compile("[\u0370-\u03ff\u0400-\u052f]")


def fold_homoglyphs(text: str) -> str:
    """Write Cyrillic and Greek letters that look Latin as Latin ones, in texts that are not in those scripts.

    A text is left alone where letters of these scripts without a Latin twin are no fewer than its Latin
    letters: so many an attack on Latin text cannot bring in, and real Russian or Greek has them throughout.
    """
    if not _ANY_TWIN.search(text):
        return text
    folded = text.translate(_TO_LATIN)
    foreign = len(_CYRILLIC_OR_GREEK.findall(folded))
    latin = len(_LATIN.findall(text))
    return text if foreign and foreign >= latin else folded
