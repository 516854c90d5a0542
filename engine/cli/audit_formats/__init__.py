"""What `genesys-engine check` answers: text, JSON, SARIF, or commands of GitHub's workflows."""

from genesys_engine.engine.cli.audit_formats.audited import Audited, Unreadable
from genesys_engine.engine.cli.audit_formats.github import github
from genesys_engine.engine.cli.audit_formats.plain import as_data, as_text
from genesys_engine.engine.cli.audit_formats.sarif import sarif

__all__ = ["Audited", "Unreadable", "as_data", "as_text", "github", "sarif"]
