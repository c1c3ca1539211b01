"""One file per verb, its flags and its ``run.yaml``.

A verb is thin: the work is done by a function that Python users call as well. The default of a flag
is defined with the algorithm that it controls, for example ``--previous`` in
``windows/previous.py`` and ``--min-area`` in ``detection/regions.py``.
"""
