"""One HTML page, its figures and tables, from evaluation results alone."""
