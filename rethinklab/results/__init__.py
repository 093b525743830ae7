"""What came out of studies: results by name, their tables, what many of them say together."""

from rethinklab.results.load import load_results, load_studies, run
from rethinklab.results.results import Results
from rethinklab.results.tables import TABLES

__all__ = ["TABLES", "Results", "load_results", "load_studies", "run"]
