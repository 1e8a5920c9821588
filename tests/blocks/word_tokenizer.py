"""A tokenizer whose tokens are words, with the face that transformers gives tokenizers."""

from __future__ import annotations

import jinja2

CHATML = "{% for m in messages %}<{{ m.role }}> {{ m.content }} <end> {% endfor %}"


class WordTokenizer:
    """Splits at spaces; `template` is its chat template, None for a base model's."""

    name_or_path = "words"

    def __init__(self, template: str | None = CHATML) -> None:
        self.chat_template = template

    def __call__(self, text: str, **_: object) -> dict[str, list[int]]:
        return {"input_ids": [hash(word) for word in text.split()]}

    def apply_chat_template(self, turns: list[dict[str, str]], *, tokenize: bool) -> str:
        def refuse(text: str) -> None:
            raise jinja2.TemplateError(text)

        template = jinja2.Environment(autoescape=False).from_string(str(self.chat_template))
        return template.render(messages=turns, raise_exception=refuse)
