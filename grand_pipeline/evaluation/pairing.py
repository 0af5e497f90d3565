"""Predicted rows beside true rows of the same image, and their objects matched one to one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from grand_pipeline.columns import Annotation, PublishedObject
from grand_pipeline.errors import RunError
from grand_pipeline.evaluation.lexicon import Lexicon
from grand_pipeline.geometry import as_boxes, iou

MATCH_IOU = 0.5

Objects = tuple[PublishedObject, ...]


@dataclass(frozen=True)
class Match:
    """A predicted object and the true one it stands for: same class, box IoU >= 0.5."""

    predicted: PublishedObject
    truth: PublishedObject


@dataclass(frozen=True)
class ImagePair:
    """Prediction and truth of one image; labels are canonical and kinds are filled in.

    `matches` holds things and stuff of status "object".
    """

    predicted: Annotation
    truth: Annotation
    matches: tuple[Match, ...]

    @property
    def image_id(self) -> str:
        """Id of the image."""
        return self.truth.image_id

    @property
    def true_things(self) -> Objects:
        """Things of the truth."""
        return tuple(o for o in self.truth.objects if o.kind == "thing")

    @property
    def voted_things(self) -> Objects:
        """Predicted things of status "object"."""
        return tuple(o for o in self.predicted.objects if o.kind == "thing" and is_voted(o))

    @property
    def matched_things(self) -> tuple[Match, ...]:
        """Matches between things."""
        return tuple(m for m in self.matches if m.truth.kind == "thing")


@dataclass(frozen=True)
class Joined:
    """Images of both sides, and how many stand on one side only."""

    pairs: tuple[ImagePair, ...]
    missing: int
    extra: int


def is_voted(thing: PublishedObject) -> bool:
    """Whether an object has the status "object"."""
    return thing.status == "object"


def join(predicted: Iterable[Annotation], truth: Iterable[Annotation], lexicon: Lexicon) -> Joined:
    """Rows of both sides by image id, in the order of ids.

    Raises RunError when not one image is on both sides.
    """
    ours = {row.image_id: row for row in predicted}
    true = {row.image_id: row for row in truth}
    common = sorted(ours.keys() & true.keys())
    if not common:
        raise RunError(
            f"the run ({len(ours)} annotated images) and the truth ({len(true)} images) have no "
            "image in common. Images are joined by the digest of their bytes: build the run from "
            "the very files that the truth describes, for example with "
            "'grand build --images TRUTH_DIR'"
        )
    pairs = tuple(pair(ours[key], true[key], lexicon) for key in common)
    return Joined(pairs, len(true) - len(common), len(ours) - len(common))


def pair(predicted: Annotation, truth: Annotation, lexicon: Lexicon) -> ImagePair:
    """Prediction and truth of one image with canonical labels and matched objects."""
    predicted, truth = canonical(predicted, lexicon), canonical(truth, lexicon)
    voted = [o for o in predicted.objects if is_voted(o)]
    return ImagePair(predicted, truth, match(voted, truth.objects))


def canonical(row: Annotation, lexicon: Lexicon) -> Annotation:
    """The row with class names resolved and "thing" or "stuff" for every object."""
    return replace(row, objects=tuple(_canonical(o, lexicon) for o in row.objects))


def _canonical(thing: PublishedObject, lexicon: Lexicon) -> PublishedObject:
    label = lexicon.canonical(thing.label)
    kind = thing.kind or ("stuff" if label in lexicon.stuff else "thing")
    return replace(thing, label=label, kind=kind)


def match(
    predicted: Sequence[PublishedObject], truth: Sequence[PublishedObject]
) -> tuple[Match, ...]:
    """One-to-one: best score first, each takes the free true object of its class it fits best."""
    overlap = iou(as_boxes([o.box for o in predicted]), as_boxes([o.box for o in truth]))
    order = sorted(range(len(predicted)), key=lambda i: -score_of(predicted[i]))
    free = set(range(len(truth)))
    found: list[Match] = []
    for i in order:
        fitting = [
            j
            for j in free
            if overlap[i, j] >= MATCH_IOU
            and truth[j].label == predicted[i].label
            and truth[j].kind == predicted[i].kind
        ]
        if fitting:
            best = max(fitting, key=lambda j: (overlap[i, j], -j))
            free.remove(best)
            found.append(Match(predicted[i], truth[best]))
    return tuple(found)


def score_of(thing: PublishedObject) -> float:
    """Score for ranking; objects born from a caption have none and come last."""
    return 0.0 if thing.score is None else thing.score


def color_of(thing: PublishedObject, lexicon: Lexicon) -> str | None:
    """The first colour word among an object's attributes."""
    colors = (lexicon.color_in(attribute.text) for attribute in thing.attributes)
    return next((color for color in colors if color is not None), None)


def mean(values: Iterable[float]) -> float | None:
    """Arithmetic mean; None of nothing."""
    kept = list(values)
    return sum(kept) / len(kept) if kept else None


def share(part: float, whole: float) -> float | None:
    """`part / whole`; None of nothing."""
    return part / whole if whole else None


def f1(precision: float | None, recall: float | None) -> float | None:
    """Harmonic mean; None where either is undefined."""
    if precision is None or recall is None:
        return None
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
