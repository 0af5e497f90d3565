from __future__ import annotations

from grand_pipeline.types import AssignedLabel, Box, Instance, RegionText
from stages.level2.chosen_labels import ChosenLabels

HERE: Box = (10, 10, 40, 40)
NEAR: Box = (12, 10, 42, 40)
AWAY: Box = (60, 60, 90, 90)
DOG = Instance(3, "object", "thing", HERE, 0.9, "dog")
CAR = Instance(7, "object", "thing", AWAY, 0.9, "car")


def test_the_best_fitting_choice_wins_and_others_keep_their_label() -> None:
    choices = [RegionText(NEAR, "animal"), RegionText(HERE, "Puppies", 0.5)]
    assert ChosenLabels().assigned((DOG, CAR), choices) == (
        *(AssignedLabel(3, "puppy", 0.5), AssignedLabel(7, "car", None)),
    )


def test_without_choices_nothing_changes() -> None:
    assert ChosenLabels().assigned((DOG,), []) == (AssignedLabel(3, "dog", None),)
    assert ChosenLabels().assigned((), [RegionText(HERE, "cat")]) == ()
    blank = [RegionText(HERE, " ")]
    assert ChosenLabels().assigned((DOG,), blank) == (AssignedLabel(3, "dog", None),)
