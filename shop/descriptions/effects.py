"""Effects: what a text says a product does or withstands, in words that claim nothing alone.

"It keeps coffee hot for hours" has no word that a list of features would hold. What makes it a
claim is its form: something stays as it is, lasts for a time, or happens by itself. A form is
granted by a line of the facts that holds all its words.
"""

import re
from collections.abc import Iterator
from functools import cache

from shop.descriptions.fact_index import FactIndex, Grant, stands_in
from shop.descriptions.plain_words import FUNCTION_WORDS
from shop.descriptions.words import stem, stems_of

_STATES = (
    r"(?:hot|warm|cold|cool|dry|fresh|clean|safe|quiet|silent|still|upright|closed|shut|open|sharp"
    r"|soft|crisp|bright|comfortable|tidy|apart|together|away|out|off|in\s+place|in\s+shape"
    r"|(?:its|their|the)\s+(?:shape|colou?r|form|shine|look|place))"
)
_SPANS = r"(?:hours|days|weeks|months|years|decades|seasons|generations|life|ever|a\s+lifetime)"
_DEEDS = (
    r"(?:stops?|cleans|cooks|boils|heats|warms|cools|dries|washes|lights|carries(?!\s+the\s+(?:label|name))|stores|folds|opens"
    r"|closes|turns|runs|plays|charges|fills|drives|moves|rolls|lifts|hears|speaks|talks|answers"
    r"|calls|sees|helps|saves|cuts|grows|changes|extends|protects|guards|shields|blocks|keeps\s+out"
    r"|prevents|resists|repels|withstands|absorbs|stretches|adjusts|adapts|learns|remembers|tells"
    r"|reminds|wakes|shows|counts|measures|weighs\s+nothing|floats|glows|shines|sings|heals|cures"
    r"|eases|soothes|relieves|reduces|removes|kills|holds|covers|hangs|stands\s+by|works(?!\s+with\b))"
)
_FORMS = tuple(
    re.compile(rf"\b{form}", re.IGNORECASE)
    for form in (
        rf"(?:keep|stay|remain|hold)(?:s|ing)?\s+(?:[\w'’-]+\s+){{0,4}}?{_STATES}\b",
        rf"for\s+(?:(?:many|several|a\s+few|some|long)\s+)?{_SPANS}\b(?!\s+(?:of|with)\b)",
        r"(?:all|the\s+whole|through\s+the|throughout\s+the)\s+(?:day|night|week|year|season)\b",
        r"(?:day|night|year|season|wash|wear|time)\s+after\s+(?:day|night|year|season|wash|time)\b",
        r"(?:in|within)\s+(?:seconds|minutes|moments|no\s+time|a\s+moment|an\s+hour|hours)\b",
        r"lasts?\s+(?:for\s+)?(?:longer|long|you|years|well|through|many|a\b)",
        r"(?:by|for)\s+itself\b|on\s+its\s+own\b",
        r"at\s+(?:a|the)\s+(?:touch|push|press|turn|word|call)\b",
        r"without\s+(?:effort|tools|noise|a\s+sound|batteries|heat|water|help|care)\b",
        r"light\s+(?:in\s+)?weight\b|light\s+to\s+(?:carry|hold|wear)\b",
        r"(?:soft|gentle|kind|good|safe)\s+(?:to|on|for)\s+(?:the|your|all|any)\b",
        r"easy\s+(?:to|on)\s+\w+|(?:easily|quickly|simply)\s+\w+s\b",
        r"(?:never|won['’]t|will\s+not|does\s+not|doesn['’]t|cannot|can['’]t)\s+\w+",
        r"(?:stands?|holds?)\s+up\b|wears?\s+well\b|wipes?\s+clean\b|folds?\s+(?:flat|away|up)\b",
        r"helps?\s+(?:you|your|the|to|with|against|keep|when)\b",
        rf"(?:it|that|which|this|also|and)\s+(?:even\s+|really\s+|simply\s+)?{_DEEDS}\b"
        r"(?!\s+(?:up\s+to\s+\d|about\s+\d|\d))",
        r"(?:it|that|which|this|you)\s+can\s+(?:also\s+|even\s+)?(?:be\s+)?(?!use\b|plan\b|order\b"
        r"|see\b|find\b|ask\b|get\b|have\b|choose\b|read\b|buy\b|take\b|rely\b|trust\b)\w+",
        r"(?:is|are|just|almost|feels|looks)\s+as\s+\w+\s+as\b",
        r"(?:twice|half)\s+(?:as|the)\b|more\s+\w+\s+than\b|(?:better|faster|longer|warmer)\s+than\b",
        r"(?:again\s+and\s+again|over\s+and\s+over|for\s+good|in\s+any\s+weather|in\s+the\s+dark"
        r"|under\s+water|in\s+the\s+rain|through\s+the\s+rain)\b",
    )
)


def effects_in(text: str) -> Iterator[tuple[int, int]]:
    """Places [start, end) of such claims; they may overlap."""
    for form in _FORMS:
        for match in form.finditer(text):
            yield match.span()


def grant_of(said: str, facts: FactIndex) -> Grant:
    """The line that holds all content words of the claim, or the claim as it stands."""
    phrase = stems_of(said)
    wanted = {one for one in phrase if one not in _function_stems()}
    for line in facts.lines:
        is_all_there = bool(wanted) and wanted <= {*line.stems, *line.name_stems}
        if not line.denies and (is_all_there or stands_in(phrase, line.stems)):
            return Grant(line.name)
    return Grant()


@cache
def _function_stems() -> frozenset[str]:
    return frozenset(stem(word) for word in FUNCTION_WORDS)
