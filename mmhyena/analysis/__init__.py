"""What a config, a model or a data set holds: operations, parameters, annotated samples."""
