"""Phone alphabets of the synthesizers, as the visemes of `compress.speech.visemes`."""

# Spanish and Catalan β is an approximant: the lips come near and do not seal.
IPA: dict[str, str] = {
    symbol: viseme
    for viseme, symbols in {
        "PP": "p b m ɓ", "BV": "β ɸ", "FF": "f v ʋ ɱ", "TH": "θ ð", "DD": "t d ɾ ɽ ʈ ɖ ɗ", "kk": "k ɡ g ŋ x ɣ q c ɟ χ ɴ ɰ",
        "CH": "ʃ ʒ ʂ ʐ ɕ ʑ", "SS": "s z", "nn": "n ɲ ɳ", "RR": "ɹ r ʁ ɻ ʀ", "LL": "l ʎ ɫ ɭ", "WW": "w ɥ ʍ",
        "HH": "h ɦ ʔ ç", "YY": "j ʝ", "aa": "a ɑ ɐ ɶ", "ae": "æ", "ah": "ə ʌ ɤ ɘ ᵊ ɜ", "ao": "ɔ ɒ", "eh": "ɛ e",
        "er": "ɚ ɝ", "ih": "ɪ ɨ ᵻ ɯ", "iy": "i", "ow": "o ɵ", "uh": "ʊ ø œ", "uw": "u y ʉ ʏ",
    }.items()
    for symbol in symbols.split()
}  # fmt: skip
# Festival's Italian and Catalan phone names are close to SAMPA, stress as a trailing 1.
_SAMPA = {"S": "ʃ", "Z": "ʒ", "J": "ɲ", "L": "ʎ", "O": "ɔ", "E": "ɛ", "N": "ŋ", "M": "ɱ", "B": "β", "D": "ð", "G": "ɣ", "@": "ə", "rr": "r", "y": "j", "ax": "ə", "uw": "w", "iy": "j"}  # fmt: skip


def sampa_visemes(phone: str) -> tuple[str, ...]:
    """Visemes of one of Festival's Italian or Catalan phones."""
    if phone.startswith(("#", "_")) or phone in ("pau", "h#"):
        return ("sil",)
    stem = phone.rstrip("0123456789:")
    return ipa_visemes({"tS": "tʃ", "dZ": "dʒ"}.get(stem) or _SAMPA.get(stem, stem))


def ipa_visemes(phone: str) -> tuple[str, ...]:
    """Visemes of one of espeak's phones: one, two for a diphthong, none for a mark that is no phone."""
    if not phone or phone[0] in "_(":
        return ("sil",)
    if phone in ("tʃ", "dʒ", "tɕ", "dʑ"):
        return ("CH",)
    if phone in ("ts", "dz"):
        return ("SS",)
    found = tuple(IPA[symbol] for symbol in phone if symbol in IPA)
    if not found and all(symbol in "_:ː ˈˌ|" for symbol in phone):
        return ("sil",)
    return found[:2]
