"""Download files over HTTP: verified, resumable, bounded."""
