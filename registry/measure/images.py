"""Images as inputs of a model: a short list of formats, within Pillow's bound on pixels."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.core.errors import NotFound, UsageError
from onnxzoo.registry.core.records import Tensor
from onnxzoo.registry.onnx_file.dtypes import to_numpy

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

# Pillow goes by content, and hands PostScript to Ghostscript, which runs programs: none but the
# formats of these names are tried, whatever the name of a file is.
# Source: Pillow's documentation, "Image.open", `formats`.
PICTURES = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".webp": "WEBP", ".gif": "GIF",
    ".ppm": "PPM",
}  # fmt: skip
_SIDE = 224  # pixels, where the model leaves height and width open
_RGB = 3
# How pixels of 0 to 255 become inputs: (mean, standard deviation) by channel, after / 255.
# Source: torchvision's and Keras' preprocessing of ImageNet's models ("torch" and "tf" modes).
PREPROCESSING = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "0-1": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "-1-1": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


def read_picture(file: Path, tensor: Tensor, preprocess: str | None) -> "Array":
    """Return an image as ``[1, C, H, W]``: resized to the input's size, and normalised.

    Args:
        file: a JPEG, PNG, BMP, WebP, GIF or PPM file.
        tensor: the input of the model.
        preprocess: a key of `PREPROCESSING`.

    Raises:
        Refused: if Pillow is not installed.
        UsageError: if there is no preprocessing, the input is none of images or not of floats, the
            file is no such image, or it has more pixels than Pillow takes without a warning.
    """
    import numpy as np

    if preprocess is None:
        raise UsageError(
            "images need a preprocessing: the one that the model was trained with",
            hint=f"--preprocess {'|'.join(PREPROCESSING)}, or write inputs as .npy yourself",
        )
    if "float" not in tensor.dtype:
        raise UsageError(
            f"the input `{tensor.name}` is {tensor.dtype}; a preprocessing makes fractions",
            hint="write inputs as .npy yourself",
        )
    how = PREPROCESSING[preprocess]
    channels, height, width = _layout(tensor)
    pixels = np.asarray(_resized(file, "RGB" if channels == _RGB else "L", (width, height)))
    mean, deviation = (np.array(values[:channels], np.float32) for values in how)
    scaled = pixels.astype(np.float32).reshape(height, width, channels) / 255
    example: Array = ((scaled - mean) / deviation).transpose(2, 0, 1)[np.newaxis]
    return example.astype(to_numpy(tensor.dtype))


def _resized(file: Path, mode: str, size: tuple[int, int]) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise NotFound(
            "images need Pillow, which is not installed", hint="pip install 'onnxzoo[images]'"
        ) from error
    formats = sorted(set(PICTURES.values()))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=formats) as image:
                return image.convert(mode).resize(size)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UsageError(
            f"`{file}` has more than {Image.MAX_IMAGE_PIXELS} pixels",
            hint="make it smaller: the model takes fewer",
        ) from error
    except (ArithmeticError, EOFError, LookupError, OSError, SyntaxError, ValueError) as error:
        raise UsageError(
            f"`{file}` is not an image that can be read; expected {', '.join(formats)}"
        ) from error


def _layout(tensor: Tensor) -> tuple[int, int, int]:
    """Return channels, height and width of an input of images."""
    match tensor.shape:
        case (_, channels, height, width) if channels in {1, _RGB}:
            side = (size if isinstance(size, int) else _SIDE for size in (height, width))
            return (int(channels or 0), *side)  # type: ignore[return-value]
    raise UsageError(
        f"the input `{tensor.name}` is not [batch, 1 or 3, height, width]",
        hint="write inputs as .npy yourself",
    )
