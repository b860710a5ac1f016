"""Keep the registry's rows: tables, connections, queries, writes."""
