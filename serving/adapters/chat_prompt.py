"""Chat prompts: a system's and a user's words as a model's own tokens, control tokens kept apart.

A model's chat template frames messages with control tokens. What a user's message holds is encoded
by itself, and never as a control token, whatever it spells: no product attribute can end a message
or begin another, with any model.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

# Private characters stand for the messages while the template is filled in; no template trims them.
_SYSTEM, _USER = "\ue000", "\ue001"


class ChatTokenizer(Protocol):
    """What is needed of a Hugging Face tokenizer."""

    chat_template: Any

    def apply_chat_template(
        self,
        conversation: Sequence[Mapping[str, str]],
        *,
        tokenize: bool,
        add_generation_prompt: bool,
    ) -> Any: ...

    def encode(self, text: str, *, add_special_tokens: bool, **options: Any) -> list[int]: ...


def chat_tokens(tokenizer: ChatTokenizer, system: str, prompt: str) -> list[int]:
    """The tokens that ask the model; without a template the words follow each other."""
    said = {_SYSTEM: system, _USER: prompt}
    tokens: list[int] = []
    fixed = ""
    for character in _framed(tokenizer):
        if character in said:
            tokens += tokenizer.encode(fixed, add_special_tokens=False) if fixed else []
            # split_special_tokens: a control token in a message is read as plain characters
            tokens += tokenizer.encode(
                said[character], add_special_tokens=False, split_special_tokens=True
            )
            fixed = ""
        else:
            fixed += character
    return tokens + (tokenizer.encode(fixed, add_special_tokens=False) if fixed else [])


def _framed(tokenizer: ChatTokenizer) -> str:
    """The template, filled in with the two placeholders; a system's may be left out by it."""
    if not tokenizer.chat_template:
        return f"{_SYSTEM}\n\n{_USER}\n"
    messages = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}]
    try:
        framed = _filled(tokenizer, messages)
    except Exception:  # noqa: BLE001  a template's own refusal of a system role; jinja's classes vary
        framed = _filled(tokenizer, [{"role": "user", "content": f"{_SYSTEM}\n\n{_USER}"}])
    if framed.count(_USER) != 1:
        raise ValueError("the model's chat template does not show the user's message exactly once")
    return framed


def _filled(tokenizer: ChatTokenizer, messages: Sequence[Mapping[str, str]]) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
