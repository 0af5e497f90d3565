"""The rendered picture-book world: scenes with exact truth."""
