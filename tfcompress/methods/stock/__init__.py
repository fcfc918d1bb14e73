"""TFMOT's own engines: its public wrappers around the layers of a bridged model.

Nothing here changes what TFMOT does. A layer that it refuses, or that its wrappers
would compute otherwise, is told in the report; a model that it refuses is one line.
"""
