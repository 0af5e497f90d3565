"""DenseVLM: a CLIP learns what its patches show from a frozen model that labels regions."""
