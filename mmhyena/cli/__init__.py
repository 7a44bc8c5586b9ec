"""The commands of the ``mmhyena`` command line, one module each; the scripts in ``tools/`` call the same modules.

Each has ``main(argv, prog)``, which returns the exit code. Nothing heavy is imported before arguments are parsed.
"""
