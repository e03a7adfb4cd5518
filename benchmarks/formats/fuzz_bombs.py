"""Short files that would fill the memory, for fuzz.py: views, lists and sets that show one image many times, bytes made of one
text many times, columns of parquet that point to one large cell."""

import io
import struct
import zipfile
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

BOMBS = ("dm", "dm old", "datadam", "eccv24", "mtt", "ddranking", "parquet")
"""Targets of fuzz.py that a bomb takes the place of."""


def bomb(form: str, rng: np.random.Generator) -> bytes:
    """A file of this format; some are so small that they are sound sets."""
    return table(rng) if form == "parquet" else pickled(form, rng)


def pickled(form: str, rng: np.random.Generator) -> bytes:
    """What torch.save makes of a tensor that shows less than it says, or a pickle that encodes one text many times."""
    if rng.random() < 0.1:
        return encoding(int(10 ** rng.uniform(1, 6)), int(10 ** rng.uniform(1, 5)))
    count = 2 * int(10 ** rng.uniform(0, 4.5))
    kinds = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8)
    kind = kinds[int(rng.integers(len(kinds)))]
    one = torch.full((1, 3, 8, 8), float(rng.integers(2))).to(kind)
    deed = int(rng.integers(5))
    if deed == 3:  # reading so many heads of tensors takes long, in proportion to the file
        count = min(count, 1000)
    images: Any = [one.expand(count, 3, 8, 8), one.repeat(count, 1, 1, 1), [one[0]] * count, list(one.expand(count, 3, 8, 8)),
                   one.repeat(count, 1, 1, 1).float().numpy()][deed]  # fmt: skip
    labels = torch.arange(2).repeat_interleave(count // 2)
    if rng.random() < 0.2:
        labels = labels[:1].expand(count)
    pair = [images, labels]
    sets = int(10 ** rng.uniform(0, 2))
    value = {"dm": {"data": [pair] * sets}, "datadam": {"data": pair}}.get(form, images)
    out = io.BytesIO()
    torch.save(value, out, _use_new_zipfile_serialization=bool(rng.random() < 0.7))
    return out.getvalue()


def encoding(length: int, times: int) -> bytes:
    """An archive whose pickle makes bytes of one text so many times."""
    text = b"X" + struct.pack("<I", length) + b"\x00" * length + b"q\x01X\x06\x00\x00\x00latin1"
    program = b"\x80\x02c_codecs\nencode\nq\x00" + text + b"\x86q\x02" + b"h\x00h\x02R" * times + b"."
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/version", "3")
    return out.getvalue()


def table(rng: np.random.Generator) -> bytes:
    """Rows that point to few cells, which may be large and pack well; labels may be words, which point likewise."""
    rows, cells = 2 * int(10 ** rng.uniform(0, 4.5)), int(rng.integers(1, 4))
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")
    padded = [stream.getvalue() + bytes(int(10 ** rng.uniform(0, 7.5))) for _ in range(cells)]
    column: Any = pa.DictionaryArray.from_arrays(
        pa.array(rng.integers(0, cells, rows), pa.int32()), pa.array(padded, pa.binary())
    )
    if rng.random() < 0.5:
        column = pa.StructArray.from_arrays([column], ["bytes"])
    numbers = np.arange(rows) * 2 // rows
    words = pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int32()), pa.array(["0", "1" * int(10 ** rng.uniform(0, 6))]))
    out = io.BytesIO()
    how = {"compression": str(rng.choice(("zstd", "gzip", "snappy"))), "store_schema": bool(rng.random() < 0.3)}
    pq.write_table(pa.table({"image": column, "label": words if rng.random() < 0.3 else numbers}), out, **how,
                   dictionary_pagesize_limit=1 << 30)  # fmt: skip
    return out.getvalue()
