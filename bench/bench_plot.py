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


def front(rows, path):
    """Perplexity ratio and KL divergence against depth.  Rows have depth,
    adjusted (0 or 1), plan, ratio, ratio_lo, ratio_hi and kl."""
    plt = pyplot()
    if not plt:
        return
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.4))
    panels = (("ratio", "perplexity over serial"),
              ("kl", "KL divergence from serial, nats"))
    for axis, (key, title) in zip(axes, panels):
        for adjusted, name, colour in ((0, "as planned", "#21918c"),
                                       (1, "adjusted", "#440154")):
            some = [r for r in rows if int(r["adjusted"]) == adjusted
                    or r["plan"] == "serial"]
            x = [int(r["depth"]) for r in some]
            axis.plot(x, [float(r[key]) for r in some], "o-", ms=4,
                      color=colour, label=name)
            if key == "ratio":
                axis.fill_between(x, [float(r["ratio_lo"]) for r in some],
                                  [float(r["ratio_hi"]) for r in some],
                                  color=colour, alpha=0.15, lw=0)
        axis.set(title=title, xlabel="depth, stages")
        axis.invert_xaxis()
        axis.grid(color="#ddd")
        axis.legend(frameon=False)
    save(figure, path)


def recovery(curves, path, log=False):
    """KL divergence on the windows held out of trainings, over the KL before,
    against the tokens trained on.  A curve is (name, tokens, KL)."""
    plt = pyplot()
    if not plt:
        return
    figure, axis = plt.subplots(figsize=(6.8, 4))
    for name, tokens, kl in curves:
        axis.plot([t / 1000 for t in tokens], [k / kl[0] for k in kl],
                  label=name)
    if log:
        axis.set_xscale("log", nonpositive="mask")
        axis.xaxis.set_major_formatter("{x:g}")
    axis.set(xlabel="thousand tokens trained on",
             ylabel="held-out KL over KL before")
    axis.grid(color="#ddd")
    axis.legend(frameon=False, fontsize=8)
    save(figure, path)
