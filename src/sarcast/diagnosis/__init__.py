"""What can go wrong before the work begins: the installation, the machine, a cube, a model."""

from sarcast.diagnosis.diagnose import Diagnosis, diagnose

__all__ = ["Diagnosis", "diagnose"]
