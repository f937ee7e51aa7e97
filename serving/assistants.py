"""Assistants: who answers shoppers' questions at this door, opened from settings."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from serving.adapters.style_files import read_styles
from serving.adapters.writer_service import WriterService
from serving.assist.pipeline import Assistant
from serving.settings import Settings
from shop.descriptions.style import StyleGuide
from shop.errors import SettingsRejected

logger = logging.getLogger(__name__)


@asynccontextmanager
async def open_assistant(settings: Settings) -> AsyncIterator[Assistant | None]:
    """Of the language model that the settings name; nothing connects before the first question.

    None where the house style cannot be read: lists need none, and nothing is said without it.
    """
    style = StyleGuide()
    try:
        if settings.describe.style:
            style, _ = await asyncio.to_thread(read_styles, Path(settings.describe.style))
    except SettingsRejected as error:
        logger.error("no question is answered here: %s", error)
        yield None
        return
    writer = WriterService(settings.writer.address, settings.writer.deadline_s)
    try:
        yield Assistant(writer, settings.assist, style)
    finally:
        await writer.close()
