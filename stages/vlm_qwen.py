"""Qwen2.5-VL and Qwen3-VL.

Their processors also prepare videos and need torchvision for it; here images alone are prepared,
by the image processor and the tokenizer. An image has a token per so many pixels, so its size is
bounded by options. (Bai et al., Qwen2.5-VL Technical Report, 2025.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages import hub, vlm, vlm_chat
from stages.vlm import Options
from stages.vlm_chat import ChatVlm

if TYPE_CHECKING:
    from PIL.Image import Image

_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
"""For checkpoints whose tokenizer brings no chat template."""


@dataclass(frozen=True)
class ImagesAlone:
    """Makes the inputs that the model's own processor would make. `size` bounds an image's
    pixels: {"shortest_edge": fewest, "longest_edge": most}, as the image processor calls them."""

    image_processor: Any
    tokenizer: Any
    image_token_id: int
    size: dict[str, int]

    def __call__(self, images: Sequence[Image], questions: Sequence[str]) -> dict[str, Any]:
        """As `vlm_chat.Asking`; an image has rows of its own among the pixels."""
        pixels = self.image_processor(images=list(images), size=self.size, return_tensors="pt")
        places = pixels["image_grid_thw"].prod(dim=1) // self.image_processor.merge_size**2
        mark = self.tokenizer.convert_ids_to_tokens(self.image_token_id)
        texts = [
            self._text(question).replace(mark, mark * int(count), 1)
            for question, count in zip(questions, places, strict=True)
        ]
        inputs = dict(
            self.tokenizer(texts, padding=True, add_special_tokens=False, return_tensors="pt")
        )
        inputs.pop("token_type_ids", None)
        # Where the image stands, for rotary positions in two dimensions.
        inputs["mm_token_type_ids"] = (inputs["input_ids"] == self.image_token_id).int()
        return inputs | dict(pixels)

    def _text(self, question: str) -> str:
        text: str = self.tokenizer.apply_chat_template(
            vlm_chat.turn(question),
            tokenize=False,
            add_generation_prompt=True,
            chat_template=self.tokenizer.chat_template or _TEMPLATE,
        )
        return text


def load(model: str, device: str, options: Options) -> ChatVlm:
    """Load a Qwen2.5-VL or Qwen3-VL. Raises as `hub.pretrained` does."""
    images = hub.preprocessor("AutoImageProcessor", model)
    tokenizer = vlm_chat.padded_left(hub.preprocessor("AutoTokenizer", model))
    own = {name: int(images.size[name]) for name in ("shortest_edge", "longest_edge")}
    size = {
        "shortest_edge": options.min_pixels or own["shortest_edge"],
        "longest_edge": options.max_pixels or own["longest_edge"],
    }
    live = vlm.pretrained(model, device, options)
    asking = ImagesAlone(images, tokenizer, live.config.image_token_id, size)
    return ChatVlm(live, tokenizer, asking)
