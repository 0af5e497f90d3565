"""MDETR: a DETR that is asked with a text, from its published `.pth` files.

An image's tokens and a text's go through one encoder; each of the decoder's queries gives a box and
says which tokens of the text it means (Kamath et al., arXiv:2104.12763; the transformer is that of
DETR, arXiv:2005.12872). `grounder` is where to begin; nothing else is needed from outside.
"""
