"""Published rows as training samples: read, ordered, cut into views, augmented, batched."""
