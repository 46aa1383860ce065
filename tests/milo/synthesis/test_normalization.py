"""What is spoken for what is written, as tables of examples; and for any text at all, its promises."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.errors import Invalid
from milo.language.malagasy import parse_number
from milo.synthesis.normalization import (
    ALPHABETS,
    MAX_SENTENCE_CHARS,
    WORDINGS,
    can_be_spoken,
    check_text,
    fit,
    normalize,
    sentences,
)
from milo.synthesis.normalization.figures import roman
from milo.synthesis.normalization.quantities import CURRENCIES
from milo.synthesis.normalization.wording_mg import number

thorough = settings(max_examples=300, deadline=None, derandomize=True, database=None)

NUMBERS = [
    ("2024", "roa arivo efatra amby roapolo"),
    ("0", "aotra"),
    ("14", "efatra ambin'ny folo"),
    ("5 000", "dimy arivo"),
    ("5.000", "dimy arivo"),
    ("5,000", "dimy arivo"),
    ("5\u00a0000", "dimy arivo"),
    ("5\u202f000", "dimy arivo"),
    ("1.234.567", "iray tapitrisa roa hetsy telo alina efatra arivo dimanjato fito amby enimpolo"),
    ("1 000 000 000", "iray lavitrisa"),
    ("2 500 000 000", "roa lavitrisa dimanjato tapitrisa"),
    ("3,5", "telo faingo dimy"),
    ("3.5", "telo faingo dimy"),
    ("0,05", "aotra faingo aotra dimy"),
    ("3,75", "telo faingo dimy amby fitopolo"),
    ("3,1415", "telo faingo iray efatra iray dimy"),
    ("-4", "miiba efatra"),
    ("−4", "miiba efatra"),
    ("007", "aotra aotra fito"),
    ("12345678901234", "iray roa telo efatra dimy enina fito valo sivy aotra iray roa telo efatra"),
    ("1,2,3,4", "iray, roa, telo, efatra"),
    ("192.168.1.1", "zato roa amby sivifolo teboka zato valo amby enimpolo teboka iray teboka iray"),
    ("٣٤", "efatra amby telopolo"),
    ("５", "dimy"),
    ("1/2", "antsasany"),
    ("15/20", "dimy ambin'ny folo amin'ny roapolo"),
    ("3½ litatra", "telo sy antsasany litatra"),
    ("5-10", "dimy hatramin'ny folo"),
    ("2 + 3 = 5", "roa ampiana telo mitovy amin'ny dimy"),
    ("10 × 3", "folo ampitomboina amin'ny telo"),
    ("10 - 3 = 7", "folo analana telo mitovy amin'ny fito"),
    ("1960 - 1972", "arivo sivinjato enimpolo hatramin'ny arivo sivinjato roa amby fitopolo"),
    ("n°2024-001", "laharana roa arivo efatra amby roapolo, aotra aotra iray"),
    ("978-2-07-1", "sivinjato valo amby fitopolo, roa, aotra fito, iray"),
    ("5'000", "dimy arivo"),
    ("2000000000000", "roa arivo lavitrisa"),
    ("COVID-19", "COVID sivy ambin'ny folo"),
    ("v1.2.3", "ve iray teboka roa teboka telo"),
    (">10", "ambony noho ny folo"),
    ("1,2 Mds", "iray faingo roa lavitrisa"),
]
TELEPHONES = [
    ("(020) 22 123 45", "aotra roa aotra, roa roa, iray roa telo, efatra dimy"),
    ("034 12 345 67", "aotra telo efatra, iray roa, telo efatra dimy, enina fito"),
    ("0341234567", "aotra telo efatra iray roa telo efatra dimy enina fito"),
    ("+261 34 12 345 67", "ampiana roa enina iray, telo efatra, iray roa, telo efatra dimy, enina fito"),
    ("032-11-222-33", "aotra telo roa, iray iray, roa roa roa, telo telo"),
]
DATES = [
    ("2024/05/12", "roa ambin'ny folo Mey roa arivo efatra amby roapolo"),
    ("05/2024", "Mey roa arivo efatra amby roapolo"),
    ("n° 12/2024", "laharana roa ambin'ny folo amin'ny roa arivo efatra amby roapolo"),
    ("01/02/2024", "voalohany Febroary roa arivo efatra amby roapolo"),
    ("12/25/2023", "dimy amby roapolo Desambra roa arivo telo amby roapolo"),
    ("2024-02-03", "telo Febroary roa arivo efatra amby roapolo"),
    ("1 Janoary 2024", "voalohany Janoary roa arivo efatra amby roapolo"),
    ("ny 26 jona 1960", "ny enina amby roapolo jona arivo sivinjato enimpolo"),
    ("ny 14/07", "ny efatra ambin'ny folo Jolay"),
    ("26 juin", "enina amby roapolo Jona"),
    ("31.12.99", "iraika amby telopolo Desambra arivo sivinjato sivy amby sivifolo"),
    (
        "2024-02-03T14:30:00Z",
        "telo Febroary roa arivo efatra amby roapolo efatra ambin'ny folo ora sy telopolo minitra",
    ),
]
TIMES = [
    ("24h/24, 7j/7", "efatra amby roapolo ora amin'ny efatra amby roapolo, fito andro amin'ny fito"),
    ("1h30mn45s", "iray ora sy telopolo minitra sy dimy amby efapolo segondra"),
    ("3:05 PM", "dimy ambin'ny folo ora sy dimy minitra"),
    ("12:15 a.m.", "aotra ora sy dimy ambin'ny folo minitra"),
    ("2'30\"", "roa telopolo"),
    ("14:30", "efatra ambin'ny folo ora sy telopolo minitra"),
    ("14h30", "efatra ambin'ny folo ora sy telopolo minitra"),
    ("9 h 15", "sivy ora sy dimy ambin'ny folo minitra"),
    ("8h", "valo ora"),
    ("amin'ny 2 ora sy sasany", "amin'ny roa ora sy sasany"),
    ("08:00-12:30", "valo ora hatramin'ny roa ambin'ny folo ora sy telopolo minitra"),
    ("Jaona 3:16", "Jaona toko telo andininy enina ambin'ny folo"),
]
MONEY = [
    ("-500 Ar", "miiba dimanjato ariary"),
    ("Ar -500", "miiba dimanjato ariary"),
    ("-$5", "miiba dimy dolara"),
    ("15kAr", "dimy ambin'ny folo arivo ariary"),
    ("100 Fmg", "zato faranka malagasy"),
    ("5 000 Ar", "dimy arivo ariary"),
    ("Ar 5.000", "dimy arivo ariary"),
    ("5,000 Ariary", "dimy arivo ariary"),
    ("MGA 5000", "dimy arivo ariary"),
    ("5 000 Ar/kg", "dimy arivo ariary isaky ny kilao"),
    ("2,5 M Ar", "roa faingo dimy tapitrisa ariary"),
    ("3 Mds Ar", "telo lavitrisa ariary"),
    ("€ 3,50", "telo eoro sy dimampolo santima"),
    ("$5", "dimy dolara"),
    ("20 USD", "roapolo dolara"),
]
MEASURES = [
    ("1m50", "iray metatra sy dimampolo santimetatra"),
    ("1m75cm", "iray metatra sy dimy amby fitopolo santimetatra"),
    ("1/4 kg", "ampahefany kilao"),
    ("½ l", "antsasany litatra"),
    ("10 000 Ar/2 kg", "iray alina ariary na roa kilao"),
    ("50%", "dimampolo isan-jato"),
    ("12,5 %", "roa ambin'ny folo faingo dimy isan-jato"),
    ("5 km", "dimy kilometatra"),
    ("25kg", "dimy amby roapolo kilao"),
    ("1,250 kg", "arivo roanjato dimampolo kilao"),
    ("3,5 m", "telo faingo dimy metatra"),
    ("10 cm", "folo santimetatra"),
    ("2 l", "roa litatra"),
    ("-12,5°C", "miiba roa ambin'ny folo faingo dimy degre selsiosy"),
    ("25 ℃", "dimy amby roapolo degre selsiosy"),
    ("3 m²", "telo metatra toradroa"),
    ("120 km/h", "zato roapolo kilometatra isan'ora"),
    ("5 µg", "dimy mikrograma"),
    ("50 kg/m3", "dimampolo kilao isaky ny metatra toratelo"),
    ("3 x 2 m", "telo ampitomboina amin'ny roa metatra"),
    ("10 - 20 %", "folo hatramin'ny roapolo isan-jato"),
]
ORDINALS = [
    ("faha-3", "fahatelo"),
    ("faha-4", "fahefatra"),
    ("faha-1", "voalohany"),
    ("faha 60", "fahenimpolo"),
    ("faha-XXI", "fahiraika amby roapolo"),
    ("3e", "fahatelo"),
    ("1er", "voalohany"),
    ("Radama II", "Radama faharoa"),
    ("Radama I", "Radama voalohany"),
]
ABBREVIATIONS = [
    ("vary sns.", "vary sy ny sisa."),
    ("Ing. Rakoto", "Injeniera Rakoto"),
    ("Dr Rabe", "Dokotera Rabe"),
    ("Atoa Hery", "Andriamatoa Hery"),
    ("Rtoa Soa", "Ramatoa Soa"),
    ("M. Rakoto", "Andriamatoa Rakoto"),
    ("N° 12", "laharana roa ambin'ny folo"),
    ("SMS", "esa ema esa"),
    ("JIRAMA", "JIRAMA"),
    ("RN7", "era ena fito"),
    ("4G", "efatra ge"),
    ("J.K. Rabe", "ji ka Rabe"),
    ("MISAOTRA BETSAKA TOMPOKO", "misaotra betsaka tompoko"),
    ("R&D", "era sy de"),
    ("aho @ ny tsena", "aho amin'ny tsena"),
    ("#milo", "diezy milo"),
    ("@izao", "amin'izao"),
    ("@rakoto", "arobazy rakoto"),
]
MARKUP = [
    ("<b>Salama</b> <i class='x'>tompoko</i>", "Salama tompoko"),
    ("**Salama** _tompoko_ ~~be~~ `eto`", "Salama tompoko be eto"),
    ("# Lohateny\n\n- iray\n- roa", "Lohateny\niray\nroa"),
    ("[eto](https://x.mg/a?b=c)", "eto"),
    ("![sary](a.png) Salama", "sary Salama"),
    ("Salama \U0001f600\U0001f44d\U0001f3fd❤\ufe0f :-) tompoko", "Salama tompoko"),
    ("Fa&amp;Soa", "Fa sy Soa"),
    ("Fa&amp;amp;Soa", "Fa sy Soa"),
    ("&lt;b&gt;Salama&lt;/b&gt; &#233;t&eacute", "Salama été"),
    ("10&nbsp;000&nbsp;Ar", "iray alina ariary"),
    ("5 &lt; 7", "dimy latsaka noho ny fito"),
    ("<script>alert(1)</script>Eny", "Eny"),
    ("rakoto.be@gmail.com", "rakoto teboka be arobazy gmail teboka com"),
    ("https://www.example.mg/vaovao?x=1.", "example teboka mg tsipika vaovao."),
    ("«Eny» hoy izy (angamba)", "Eny hoy izy, angamba"),
    ("2 < 3", "roa latsaka noho ny telo"),
    ("Привет", "Privet"),
    ("中文", "zhong wen"),
    ("Ωμέγα", "Omega"),
    ("François Lefèvre", "François Lefèvre"),
    ("Łukasz", "Lukasz"),
    ("...", ""),
    ("\U0001f600", ""),
    ("\ud800", ""),
    ("", ""),
]


@pytest.mark.parametrize(
    ("written", "said"),
    NUMBERS + TELEPHONES + DATES + TIMES + MONEY + MEASURES + ORDINALS + ABBREVIATIONS + MARKUP,
)
def test_malagasy_is_said_as(written: str, said: str) -> None:
    assert normalize(written, "mg") == said


FRENCH = [
    ("le 1er janvier 2024", "le premier janvier deux mille vingt-quatre"),
    ("5 000 Ar", "cinq mille ariary"),
    ("12,50 €", "douze euros cinquante centimes"),
    ("3 M€", "trois millions d'euros"),
    ("1 000 000 €", "un million d'euros"),
    ("2 000 000 km", "deux millions de kilomètres"),
    ("15 kAr", "quinze mille ariary"),
    ("1/4 kg", "un quart de kilo"),
    ("1/2 kg", "un demi kilo"),
    ("24h/24 et 7j/7", "vingt-quatre heures sur vingt-quatre et sept jours sur sept"),
    ("3,75 m", "trois virgule soixante-quinze mètres"),
    ("1 t", "une tonne"),
    ("14h30", "quatorze heures trente"),
    ("1h", "une heure"),
    ("XXIe siècle", "vingt et unième siècle"),
    ("Louis XIV", "Louis quatorze"),
    ("François Ier", "François premier"),
    ("-3 °C", "moins trois degrés Celsius"),
    ("80 %", "quatre-vingts pour cent"),
    ("M. Dupont et Mme Rabe", "Monsieur Dupont et Madame Rabe"),
    ("SNCF", "esse enne cé effe"),
    ("5-10 %", "cinq à dix pour cent"),
]
ENGLISH = [
    ("$5.99", "five dollars and ninety-nine cents"),
    ("5,000 Ar", "five thousand ariary"),
    ("1,234,567.89", "one million two hundred and thirty-four thousand five hundred and sixty-seven point eight nine"),
    ("July 14, 1789", "July fourteenth seventeen eighty-nine"),
    ("in 2024", "in twenty twenty-four"),
    ("2:05 PM", "two oh five pee em"),
    ("1st, 2nd and 21st", "first, second and twenty-first"),
    ("Elizabeth II", "Elizabeth the second"),
    ("Dr. Smith", "Doctor Smith"),
    ("café", "cafe"),
    ("me@x.com", "me at ex dot com"),
    ("6 ft", "six feet"),
]

POWERS_AND_NUMERALS = [
    ("mg", "5e-3", "dimy ampitomboina amin'ny folo hery miiba telo"),
    ("fr", "5e-3 m", "cinq fois dix puissance moins trois mètres"),
    ("en", "5e-3", "five times ten to the power of minus three"),
    ("fr", "6,02E23", "six virgule zéro deux fois dix puissance vingt-trois"),
    ("en", "3e8 m/s", "three times ten to the power of eight meters per second"),
    ("en", "10^-3", "ten to the power of minus three"),
    ("fr", "10⁻³ m", "dix puissance moins trois mètres"),
    ("fr", "le 2e étage", "le deuxième étage"),
    ("mg", "World War II", "World War faharoa"),
    ("fr", "World War II", "World War deux"),
    ("en", "World War II's end", "World War two's end"),
    ("en", "World War I.", "World War one."),
    ("en", "WWII", "World War two"),
    ("en", "WORLD WAR II", "world war two"),
    ("en", "Chapter IV of Type I", "Chapter four of Type one"),
    ("en", "Apollo XIII", "Apollo thirteen"),
    ("en", "Henry VIII and Pope John Paul II", "Henry the eighth and Pope John Paul the second"),
    ("en", "George V", "George the fifth"),
    ("en", "Henry I think", "Henry I think"),
]


@pytest.mark.parametrize(("language", "written", "said"), POWERS_AND_NUMERALS)
def test_powers_of_ten_and_roman_numerals_are_said_as(language: str, written: str, said: str) -> None:
    assert normalize(written, language) == said


@pytest.mark.parametrize(("written", "said"), FRENCH)
def test_french_is_said_as(written: str, said: str) -> None:
    assert normalize(written, "fr") == said


@pytest.mark.parametrize(("written", "said"), ENGLISH)
def test_english_is_said_as(written: str, said: str) -> None:
    assert normalize(written, "en") == said


def test_the_traditional_order_puts_units_first() -> None:
    assert normalize("2024", order="traditional") == "efatra amby roapolo sy roa arivo"
    assert normalize("1 500 Ar", order="traditional") == "dimanjato sy arivo ariary"


@pytest.mark.parametrize(
    "text",
    [
        "Manao ahoana, tompoko! Salama tsara ve ianao? Eny; misaotra betsaka.",
        "Any Antananarivo i Rakoto sy ny ankohonany, nefa tsy eto izy androany.",
        "Ny teny malagasy dia mora ianarana: amin'ny ankapobeny, tsara-tarehy.",
        "roa arivo efatra amby roapolo",
    ],
)
def test_words_stay_as_they_are(text: str) -> None:
    assert normalize(text) == text


def test_another_language_keeps_its_letters_and_figures() -> None:
    assert normalize("**Straße** 12 \U0001f600", "de") == "Straße 12"
    assert normalize("Привет, мир!", "ru") == "Привет, мир!"


@thorough
@given(st.integers(0, 10**9 - 1))
def test_a_whole_number_in_words_is_that_number(n: int) -> None:
    assert parse_number(normalize(str(n))) == n


@thorough
@given(st.integers(10**9, 10**18 - 1))
def test_numbers_beyond_the_table_are_counted_in_thousands_of_millions(n: int) -> None:
    assert "lavitrisa" in number(n)
    assert normalize(f"{n:,}".replace(",", " ")) == number(n)


_hostile = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(list("0123456789.,:/-+@#%&<>*_[]()|`~ \n'\"hHArkgmMXIVe€$°½²")),
    ),
    max_size=120,
)


@thorough
@given(_hostile, st.sampled_from(sorted(WORDINGS)), st.sampled_from(["modern", "traditional"]))
def test_any_text_gives_only_letters_of_the_language_and_bounded_length(text: str, language: str, order: str) -> None:
    said = normalize(text, language, order)  # type: ignore[arg-type]
    assert set(said) <= ALPHABETS[language]
    assert len(said) <= 48 * len(text) + 48
    assert said == said.strip()
    assert said == "" or can_be_spoken(said)


@thorough
@given(_hostile, st.sampled_from(["de", "ru", "zh", "xx"]))
def test_other_languages_never_fail_either(text: str, language: str) -> None:
    said = normalize(text, language)
    assert all(unicodedata.category(c) not in ("Cs", "So", "Cn") for c in said if c != "°")


@thorough
@given(st.text(st.sampled_from("abdefgh oy,.!?;'ôà"), max_size=80))
def test_what_was_made_ready_is_ready(text: str) -> None:
    once = normalize(text)
    assert normalize(once) == once


@pytest.mark.parametrize(
    "piece",
    [
        "9",
        "1 ",
        "a.",
        "<a ",
        "*",
        "[](",
        "\n- ",
        "1,",
        "0 ",
        "@",
        "+261 ",
        '"',
        "(",
        "ﷺ",
        "IV ",
        "A. ",
        "5e-",
        "&amp;",
        "&amp",
        "Henry ",
    ],
)
def test_a_long_hostile_text_is_done_in_linear_time(piece: str) -> None:
    text = (piece * 4096)[:4096]
    assert len(normalize(text)) <= 48 * len(text)


SENTENCES = [
    ("Salama. Manao ahoana ianao? Tsara!", ["Salama.", "Manao ahoana ianao?", "Tsara!"]),
    ("Tonga Dr. Rakoto omaly. Lasa izy.", ["Tonga Dr. Rakoto omaly.", "Lasa izy."]),
    ("Nihaona tamin'i J. Rabe aho. Eny.", ["Nihaona tamin'i J. Rabe aho.", "Eny."]),
    ("3.5 kg ny vary. Lafo.", ["3.5 kg ny vary.", "Lafo."]),
    ("1. Vary\n2. Hena", ["1. Vary", "2. Hena"]),
    ("Andraso... ho avy izy. Eny", ["Andraso... ho avy izy.", "Eny"]),
    ("Iray\nRoa", ["Iray", "Roa"]),
    ("你好。谢谢。", ["你好。", "谢谢。"]),
    ("Inona?! Eny.", ["Inona?!", "Eny."]),
    ("... !", []),
    ("", []),
]


@pytest.mark.parametrize(("text", "expected"), SENTENCES)
def test_sentences_end_where_they_end(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_a_long_sentence_is_cut_at_its_clauses() -> None:
    clause = "ny mpianatra dia mianatra tsara ao an-tsekoly"
    pieces = sentences(", ".join([clause] * 9) + ".", max_chars=120)
    assert len(pieces) == 5
    assert all(piece.endswith((",", ".")) for piece in pieces)


def test_the_first_sentence_may_be_cut_earlier() -> None:
    text = "Raha tonga any Antananarivo ianao, dia mitadiava trano hipetrahana akaikin'ny toeram-piasanao vaovao."
    assert sentences(text, first_max_chars=60)[0] == "Raha tonga any Antananarivo ianao,"
    assert sentences(text) == [text]


@thorough
@given(_hostile, st.integers(1, 60))
def test_sentences_lose_no_letter_and_keep_the_limit(text: str, max_chars: int) -> None:
    pieces = sentences(text, max_chars)
    assert all(0 < len(piece) <= max_chars for piece in pieces)
    assert [c for c in "".join(pieces) if c.isalnum()] == [c for c in text if c.isalnum()]
    assert all(len(piece) <= MAX_SENTENCE_CHARS for piece in sentences(text))


@thorough
@given(_hostile)
def test_a_fitted_text_has_only_characters_of_the_model(text: str) -> None:
    alphabet = set("abdefghijklmnoprstvyz' -")
    assert set(fit(text, alphabet)) <= alphabet


def test_letters_that_a_model_lacks_become_the_nearest_it_has() -> None:
    alphabet = set("abdefghijklmnoprstvyz' -ô")
    assert fit("Coca-Cola, Quartz, Windows, ciné, Fax, Tô", alphabet) == "koka-kola koartz oindoos sine faks tô"
    assert fit("Мило", alphabet) == "milo"


def test_roman_numerals_are_read_and_others_are_not() -> None:
    assert [roman(r) for r in ("I", "IV", "IX", "XIV", "XXI", "XXXIX", "XC")] == [1, 4, 9, 14, 21, 39, 90]
    assert [roman(r) for r in ("IIII", "VX", "IIX", "VV")] == [0, 0, 0, 0]


def test_every_language_knows_the_same_currencies_signs_and_letters() -> None:
    for wording in WORDINGS.values():
        assert set(CURRENCIES.values()) == set(wording.money)
        assert set(WORDINGS["mg"].signs) == set(wording.signs)
        assert set("abcdefghijklmnopqrstuvwxyz") == set(wording.letters)
        assert len(wording.months) == 12
        assert len(wording.digits) == 10
        assert all(1 <= n <= 12 for n in wording.month_names.values())


@pytest.mark.parametrize(("text", "code"), [("", "empty_text"), (" \n\t ", "empty_text"), ("a" * 501, "text_too_long")])
def test_text_that_can_not_be_a_request_is_refused(text: str, code: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_text(text, 500)
    assert refused.value.code == code
    if code == "text_too_long":
        assert "501" in refused.value.detail
        assert "500" in refused.value.detail
    check_text("a" * 500, 500)
