"""Languages of OCR: which recogniser reads which, and where its file has to be.

RapidOCR's wheel holds one recogniser (PP-OCRv6 small). Its 18,708 characters cover Latin letters with their
accents, Chinese, Japanese, and Greek letters without accents: no Cyrillic, Korean, Arabic, Hebrew, Thai or
Indian script. For those RapidOCR has other models (PP-OCRv5), which it would download by itself; a reading
process has no network, so the file must be there before.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

MODELS = {
    "arabic": ("ar", "fa", "ug", "ur"),
    "cyrillic": ("bg", "kk", "ky", "mk", "mn", "sr", "tg", "tt"),
    "devanagari": ("hi", "mr", "ne", "sa"),
    "el": ("greek",),
    "eslav": ("be", "ru", "uk"),
    "korean": ("ko",),
    "ta": ("tamil",),
    "te": ("telugu",),
    "th": ("thai",),
}
"""Models of RapidOCR for other scripts, by the name in their file, with the languages that each is for."""

IN_THE_WHEEL = (
    "af", "az", "bs", "ca", "ch", "cs", "cy", "da", "de", "en", "es", "et", "eu", "fi", "fr", "ga", "gl",
    "hr", "hu", "id", "is", "it", "ja", "latin", "la", "lb", "lt", "lv", "mi", "ms", "mt", "nl", "no", "oc",
    "pl", "pt", "qu", "rm", "ro", "sk", "sl", "sq", "sv", "sw", "tl", "tr", "uz", "vi", "zh",
)  # fmt: skip
"""Languages of the model in the wheel, as RapidOCR lists them."""


def model_name(language: str) -> str | None:
    """Return the file name of the recogniser for a language; None for that of the wheel.

    Raises:
        ValueError: there is no model for it.
    """
    name = language.strip().casefold()
    if not name or name in IN_THE_WHEEL:
        return None
    for model, languages in MODELS.items():
        if name == model or name in languages:
            return f"{model}_PP-OCRv5_rec_mobile.onnx"
    known_names = sorted({*IN_THE_WHEEL, *MODELS, *(name for names in MODELS.values() for name in names)})
    raise ValueError(f"ocr_language must be one of {', '.join(known_names)}, got {language!r}.")


def model_path(language: str, folder: str) -> Path | None:
    """Return where the recogniser for a language has to be; None for that of the wheel."""
    name = model_name(language)
    return None if name is None else models_folder(folder) / name


def models_folder(folder: str) -> Path:
    """Return the folder of models: the one given, or RapidOCR's own."""
    if folder:
        return Path(folder).expanduser().absolute()
    return _package() / "models"


def _package() -> Path:
    """Return the folder of the package `rapidocr` without importing it."""
    module_spec = importlib.util.find_spec("rapidocr")
    if module_spec is None or module_spec.origin is None:
        return Path("rapidocr")
    return Path(module_spec.origin).parent


def check_model(language: str, folder: str, *, is_needed: bool) -> None:
    """Refuse a language without a model, and a model that is not there.

    Raises:
        ValueError: the language is unknown; or OCR will run and the file is absent, with what to download
            and where to put it.
    """
    path = model_path(language, folder)
    if path is None or not is_needed or path.is_file():
        return
    raise ValueError(
        f"ocr_language={language!r} needs the model {path.name} in {path.parent}, got no such file. "
        f"Download {download_address(path.name)} and put it there, or name its folder (ocr_models)."
    )


def download_address(name: str) -> str:
    """Return the address that RapidOCR's own list has for a model; its name where the list has none."""
    try:
        model_list = (_package() / "default_models.yaml").read_text(encoding="utf-8")
    except OSError:
        return name
    addresses = re.findall(rf"https?://\S*/{re.escape(name)}", model_list)
    return addresses[0] if addresses else f"{name} (see RapidOCR's list of models)"
