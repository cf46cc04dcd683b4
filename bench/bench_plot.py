"""What the scripts that plot share."""
import sys


def pyplot():
    """matplotlib's pyplot for SVG files that are the same each time, or None
    after a word on standard error."""
    try:
        import matplotlib
    except ImportError:
        print("no plot: matplotlib is missing (package python3-matplotlib)",
              file=sys.stderr)
        return None
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "tlp"})
    import matplotlib.pyplot as plt

    return plt


def save(figure, path):
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
