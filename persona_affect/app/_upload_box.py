"""Where visitors drop a file."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData
from gradio_client.utils import is_http_url_like


def upload_box(label: str, kinds: list[str], *, elem_id: str) -> gr.File:
    """Make a box that takes one file, uploaded and not fetched, and hands its path on.

    Parameters
    ----------
    label : str
    kinds : list of str
        What browsers offer to choose: ``["image"]``, ``["video"]``. Others are refused as what they
        turn out to be.
    elem_id : str
    """
    box = gr.File(label=label, file_types=kinds, elem_id=elem_id, height=132)
    move = box.async_move_resource_to_block_cache

    async def keep(path: str | Path | None) -> str | None:
        if is_http_url_like(str(path)):
            raise gr.Error("Upload the file: addresses are not fetched.", print_exception=False)
        return await move(path)

    def hand_on(payload: Any) -> str:
        if not isinstance(payload, FileData):
            raise gr.Error("Upload a file first.", print_exception=False)
        return payload.path

    # Gradio's own leaves an empty file behind at every call.
    box.preprocess = hand_on  # type: ignore[method-assign]
    box.async_move_resource_to_block_cache = keep  # type: ignore[method-assign, assignment]
    return box
