"""Data: the Shapes generator, small trees in the formats of the public data sets, and data set classes.

Nothing is imported here, so that the generators run without any OpenMMLab package. Data set classes that need a toolkit
are found through :data:`mmhyena.registry.DATASETS`.
"""
