"""GroupViT (Xu et al., CVPR 2022): patches find together to segments, from texts alone.

`layers` and `grouping` are its parts, `network` the model, `losses` and `objective` what it is
trained with, `batches` what it is shown, `segments` how pixels and classes follow from groups,
`scores` and `pictures` what a trained model is measured and seen by, `export` how it is kept.
"""
