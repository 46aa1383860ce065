"""Words and sentence patterns of the speech phrasebook, in three languages.

From `tables/names.tsv`, `speech_words.tsv` and `speech_patterns.tsv`. A pattern's `{slots}` are filled by
`trainer.corpus.phrasebook`; a pattern without slots is a fixed phrase. `?` at the end marks a question, everything
else becomes a statement. A line that stands there twice is drawn twice as often.
"""

from __future__ import annotations

from trainer.corpus.tables import read_table

MG_WEIGHTS = {"number": 5, "greeting": 3, "market": 5, "place": 4, "time": 4, "life": 4, "sounds": 2}
"""How often each topic is drawn in Malagasy."""


def _lists(table: str, group: str, item: str) -> dict[str, dict[str, list[str]]]:
    """Language -> the column `group` -> the column `item` of its rows, in the order of the table."""
    languages: dict[str, dict[str, list[str]]] = {}
    for row in read_table(table):
        languages.setdefault(row["language"], {}).setdefault(row[group], []).append(row[item])
    return languages


GENDERS = {row["name"]: row["gender"] for row in read_table("names")}
"""m or f: French adjectives and participles agree with the person."""
WORDS = _lists("speech_words", "slot", "word")
"""Language -> slot -> the words that may fill it."""
PATTERNS = _lists("speech_patterns", "topic", "pattern")
"""Language -> topic -> its sentences."""
for _row in read_table("names"):
    WORDS[_row["language"]].setdefault("name", []).append(_row["name"])
