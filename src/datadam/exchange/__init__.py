"""Sets in the formats of others: `export` writes them, `import_` reads them, and neither ever runs what is in a file."""

from datadam.exchange.formats import FORMATS, format_named
from datadam.exchange.inward import import_
from datadam.exchange.outward import Error, Exported, export, rounded

__all__ = ["FORMATS", "Error", "Exported", "export", "format_named", "import_", "rounded"]
