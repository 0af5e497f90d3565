"""Annotated pictures: what a run says about its images, for people to look at."""

from grand_pipeline.show.picture import draw_objects
from grand_pipeline.show.sheet import contact_sheet
from grand_pipeline.show.show import draw, show

__all__ = ["contact_sheet", "draw", "draw_objects", "show"]
