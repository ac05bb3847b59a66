"""Python tasks of a small CRM: reassign deals, report every minute, and mind what fails."""
