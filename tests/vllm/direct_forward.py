"""Scores yes against no by a direct forward pass; run by the Python that has a transformers which can see.

``python direct_forward.py MODEL_DIR``, cases as a JSON list on stdin: ``{"messages", "pictures": data URL by
uuid, "ids": [yes, no], "continued"}``; their scores as JSON on stdout. Shares no code with mmrag.
"""

import base64
import io
import json
import sys

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

torch.set_num_threads(1)
processor = AutoProcessor.from_pretrained(sys.argv[1])
model = AutoModelForImageTextToText.from_pretrained(sys.argv[1], dtype=torch.float32).eval()


def score(case: dict) -> float:
    images = []
    for message in case["messages"]:
        parts = message["content"]
        message["content"] = [{"type": "text", "text": parts}] if isinstance(parts, str) else parts
        for part in message["content"]:
            if part["type"] == "image_url":
                data = case["pictures"][part["uuid"]].split(",", 1)[1]
                images.append(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
                part["type"] = "image"
    text = processor.apply_chat_template(
        case["messages"],
        tokenize=False,
        add_generation_prompt=not case["continued"],
        continue_final_message=case["continued"],
    )
    inputs = processor(text=[text], images=images or None, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits[0, -1].double()
    yes, no = case["ids"]
    return torch.sigmoid(logits[yes] - logits[no]).item()


print(json.dumps([score(case) for case in json.load(sys.stdin)]))
