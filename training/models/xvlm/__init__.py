"""X-VLM (Zeng et al., ICML 2022): texts are aligned with objects, regions and whole images.

`network` is the model and how it is saved, `start` its initial weights, `losses` the terms of its
objective, `objective` their sum, `batches` what it is shown, `tiny` the backbones of the small
configuration, `scores` and `pictures` what a trained model is measured and seen by.
"""
