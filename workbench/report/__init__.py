"""Reports: from a notebook to one self-contained HTML file and a gallery. Import the part you need."""
