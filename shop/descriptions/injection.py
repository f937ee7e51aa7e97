"""Injection: whether a text speaks to a machine (instructions, markup, links) and not to shoppers.

Used on both sides of the model: attributes that read so never reach the prompt, and a text that
reads so never reaches a page. Quoting in the prompt and escaping on the page hold without it.
"""

import re
import unicodedata

_VERBS = r"(?:ignore|disregard|forget|override|bypass|skip|drop)"
_OBJECTS = (
    r"(?:instruct\w*|prompts?|rules?|guidelines?|directions?|facts|above|everything|constraints?"
    r"|anweisung\w*|system\s+message|policy|policies)"
)
_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{_VERBS}\b.{{0,60}}\b{_OBJECTS}\b",
        r"\b(?:ignoriere|vergiss|missachte)\b",
        r"\bignor(?:ez|a|ar)\b.{0,40}\b(?:instruc\w+|consignes?)\b",
        r"\b(?:system|developer)\s+(?:prompt|message|note|override)\b",
        r"(?:^|[\"'.!?;#*>\[(\n])\s*(?:system|assistant|user|human|developer|instructions?)\s*\]?"
        r"\s*:",
        r"\byou\s+(?:are|will|must|should|shall)\s+(?:now\b|act\b|reply\b|respond\b|answer\b"
        r"|write\b|say\b|output\b|print\b|obey\b|an?\s+(?:ai|assistant|model|language))",
        r"\b(?:act|behave|pretend|respond|reply|answer)\s+(?:as|to\s+be|only|with)\b",
        r"\b(?:new|updated|real|actual|following|hidden|secret)\s+instructions?\b",
        r"\b(?:as\s+an?\s+)?(?:ai|large)\s+(?:language\s+)?model\b",
        r"\b(?:jailbreak|prompt\s+injection|developer\s+mode|DAN\s+mode)\b",
        r"\b(?:reveal|repeat|print|output|show|leak|exfiltrate)\b.{0,40}"
        r"\b(?:prompt|instructions?|secrets?|keys?|passwords?|tokens?|verbatim)\b",
        r"\b(?:instead|only)\b.{0,20}\b(?:write|say|output|print|reply|answer)\b",
        r"\b(?:write|say|output|print|append|insert|mention|state)\b.{0,30}\b(?:instead|that\s+"
        r"(?:this|it|the|our|all)|the\s+(?:words?|following|text|phrase|link|url))",
        r"<\s*[/!?a-z|]|<\||\|>|&(?:#\d+|#x[0-9a-f]+|lt|gt|quot|amp|colon);?|\bjavascript\s*:",
        r"\bon(?:error|load|click|mouse\w+|focus|animation\w+)\s*=",
        r"\]\s*\(|!\[|```|\{\{|\}\}|\$\{|<%|%>|\{%|\[/?(?:inst|sys|system|url|img)\b|###\s",
        r"https?\s*:|\bwww\.|\bdata\s*:\s*\w+/|\bfile\s*:/|\b[\w.+-]+@[\w-]+\.\w{2,}",
        r"%3c|\\u00|\\x[0-9a-f]{2}|\beval\s*\(|\bimport\s+os\b",
        r"['\"]\s*(?:;|--|or\b\s*['\"\d])|\b(?:drop|alter)\s+table\b|\bunion\s+select\b"
        r"|\binsert\s+into\b|\bdelete\s+from\b",
        r"\"\s*[,:]\s*\"|\"\s*\}|^\s*[\[{].*[\]}]\s*$",
    )
)
# Letters of other alphabets that look like Latin ones, and digits that stand for letters.
_ALIKE = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0455\u0501\u0261", "aeopcyxisdg"
)
_LONG_RUN = re.compile(r"[A-Za-z0-9+/=]{80,}")  # encoded data; no product word is that long


def looks_injected(text: str) -> bool:
    """Whether `text` holds an instruction, markup, a link or code. Bounded time for any input."""
    seen = text[:4_000]
    plain = unicodedata.normalize("NFKC", seen).translate(_ALIKE)
    visible = "".join(c for c in plain if unicodedata.category(c) not in ("Cf", "Cc", "Mn"))
    forms = dict.fromkeys((seen, plain, visible, _joined(visible)))  # of most texts there is one
    return _LONG_RUN.search(seen) is not None or any(
        pattern.search(form) for form in forms for pattern in _PATTERNS
    )


def _joined(text: str) -> str:
    """Spaced-out letters put together: "i g n o r e" reads as "ignore"."""
    return re.sub(r"(?<=\b\w)[ ._-](?=\w\b)", "", text)
