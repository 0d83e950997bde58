"""What a run leaves for people and programs: records, tables, the summary, the page and its figures."""
