"""The box for uploads, and a guard for the input of components."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData
from gradio_client.utils import is_file_obj_with_meta
from pydantic import model_validator

from ._uploads import Uploads


class _Upload(FileData):
    """An upload as browsers and programs name it; an empty path means no file."""

    @model_validator(mode="before")
    @classmethod
    def accept_anything(cls, value: Any) -> Any:
        """Accept other input than uploads too, to answer it with a sentence."""
        if is_file_obj_with_meta(value):
            return value
        name = value if isinstance(value, str) else None
        return {"path": "", "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def upload_box(label: str, kinds: list[str], uploads: Uploads, *, elem_id: str) -> gr.File:
    """Make a box that takes one upload of this visitor, and returns its path.

    Parameters
    ----------
    label : str
    kinds : list of str
        Kinds of files that browsers offer: ``["image"]``, ``["video"]``. The content of other files
        is checked, and they are refused.
    uploads : Uploads
    elem_id : str
    """
    box = gr.File(label=label, file_types=kinds, elem_id=elem_id, height=132)

    async def keep(path: str | Path | None) -> str | None:
        if not uploads.has(str(path)):
            raise gr.Error(
                "Upload the file: addresses are not fetched, and an upload is used once.",
                print_exception=False,
            )
        return str(path)

    def hand_on(payload: Any) -> str:
        if payload and payload.path:
            return str(payload.path)
        if payload and payload.orig_name:
            raise gr.Error(
                "This is the name of a file, not an upload. In Python, write "
                f"client.predict(handle_file({payload.orig_name!r}), ...), with handle_file from "
                "gradio_client.",
                print_exception=False,
            )
        raise gr.Error("Upload a file first.", print_exception=False)

    # Gradio's own leaves an empty file behind at every call.
    box.preprocess = hand_on  # type: ignore[method-assign]
    box.data_model = _Upload
    box.async_move_resource_to_block_cache = keep  # type: ignore[method-assign, assignment]
    return box


def guard_files(page: gr.Blocks, uploads: Uploads) -> None:
    """Prevent other components from downloading addresses or taking files, except results."""

    async def keep(path: str | Path | None) -> str | None:
        if not uploads.is_result(str(path)):
            raise gr.Error("Addresses and files are not accepted here.", print_exception=False)
        return str(path)

    for block in page.blocks.values():
        if getattr(block, "data_model", None) is not _Upload:
            block.async_move_resource_to_block_cache = keep  # type: ignore[method-assign, assignment]
