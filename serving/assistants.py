"""Assistants: who answers shoppers' questions at this door, opened from settings."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from serving.adapters.style_files import read_styles
from serving.adapters.writer_service import WriterService
from serving.assist.pipeline import Assistant
from serving.settings import Settings
from shop.descriptions.style import StyleGuide


@asynccontextmanager
async def open_assistant(settings: Settings) -> AsyncIterator[Assistant]:
    """Of the language model that the settings name; nothing connects before the first question.

    Raises SettingsRejected if the house style cannot be read.
    """
    style = StyleGuide()
    if settings.describe.style:
        style, _ = await asyncio.to_thread(read_styles, Path(settings.describe.style))
    writer = WriterService(settings.writer.address, settings.writer.deadline_s)
    try:
        yield Assistant(writer, settings.assist, style)
    finally:
        await writer.close()
