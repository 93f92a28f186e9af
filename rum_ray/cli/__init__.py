"""The command line: verbs over one experiment file."""
