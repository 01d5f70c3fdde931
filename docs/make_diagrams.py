"""Draw the diagrams of the site: boxes and arrows as SVG, in the colours of the page.

    python docs/make_diagrams.py

The files in docs/diagrams are committed; a test draws them again and compares. The packages and
arrows of `house` are read from docs/architecture.md, where a test compares them with the imports.
"""

import html
import itertools
import re
from pathlib import Path

DOCS = Path(__file__).parent

STYLE = """
.dg-box{fill:var(--pst-color-surface,#f3f4f5);stroke:var(--pst-color-border,#8a8f98)}
.dg-net{fill:var(--pst-color-primary-bg,#d6ecef);stroke:var(--pst-color-primary,#0a7d91)}
.dg-loss{fill:var(--pst-color-secondary-bg,#f3e0f7);stroke:var(--pst-color-secondary,#8045e5)}
.dg-box,.dg-net,.dg-loss{stroke-width:1.3}
.dg-text,.dg-small{text-anchor:middle}
.dg-text{fill:var(--pst-color-text-base,#222832);font:15px system-ui,sans-serif}
.dg-small{fill:var(--pst-color-text-muted,#48566b);font:13px system-ui,sans-serif}
.dg-line{fill:none;stroke:var(--pst-color-text-muted,#48566b);stroke-width:1.4}
.dg-dash{stroke-dasharray:5 4}
.dg-head{fill:var(--pst-color-text-muted,#48566b)}
.dg-point{fill:var(--pst-color-secondary,#8045e5)}
""".strip()


class Drawing:
    """Boxes, arrows and texts on a plane of `width` x `height`, which become one SVG."""

    def __init__(self, width, height, title):
        self.size, self.title, self.parts = (width, height), title, []

    def box(self, x, y, width, height, *lines, kind="box"):
        """Draw a box whose upper left corner is (x, y), with one text a line; return its edges."""
        self.parts.append(
            f'<rect class="dg-{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'
        )
        top = y + height / 2 - 9 * (len(lines) - 1) + 5
        for i, line in enumerate(lines):
            self.text(x + width / 2, top + 18 * i, line, kind="text" if i == 0 else "small")
        middle = (x + width / 2, y + height / 2)
        return {
            "left": (x, middle[1]),
            "right": (x + width, middle[1]),
            "top": (middle[0], y),
            "bottom": (middle[0], y + height),
        }

    def text(self, x, y, text, kind="small"):
        """Write a text around (x, y)."""
        self.parts.append(f'<text class="dg-{kind}" x="{x:g}" y="{y:g}">{html.escape(text)}</text>')

    def arrow(self, start, end, *, dash=False, bend=False):
        """Draw an arrow from one point to another; a bent one leaves and arrives horizontally."""
        (x0, y0), (x1, y1) = start, end
        half = (x0 + x1) / 2
        path = f"M{x0:g} {y0:g}" + (
            f"C{half:g} {y0:g} {half:g} {y1:g} {x1:g} {y1:g}" if bend else f"L{x1:g} {y1:g}"
        )
        style = "dg-line dg-dash" if dash else "dg-line"
        self.parts.append(f'<path class="{style}" d="{path}" marker-end="url(#dg-arrow)"/>')

    def add(self, element):
        """Add an SVG element."""
        self.parts.append(element)

    def to_svg(self):
        """Return the drawing as SVG."""
        width, height = self.size
        title = html.escape(self.title)
        head = '<path class="dg-head" d="M0 0L8 4L0 8Z"/>'
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
            f'aria-label="{title}">',
            f"<title>{title}</title><style>{STYLE}</style>",
            '<defs><marker id="dg-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
            f'markerHeight="8" orient="auto">{head}</marker></defs>',
            *self.parts,
            "</svg>",
        ]
        return "\n".join(lines) + "\n"


def read_house():
    """Return the packages and arrows of the diagram in docs/architecture.md."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    arrows = set()
    for line in text.split("```mermaid\n")[1].split("```")[0].splitlines()[1:]:
        steps = [re.findall(r"\w+", step) for step in line.split("-->")]
        for sources, users in itertools.pairwise(steps):
            arrows |= set(itertools.product(sources, users))
    return arrows


def draw_house():
    """Draw the packages, each to the right of all that it imports."""
    arrows = read_house()
    names = sorted({name for arrow in arrows for name in arrow})
    depth = dict.fromkeys(names, 0)
    for _ in names:
        for source, user in arrows:
            depth[user] = max(depth[user], depth[source] + 1)
    columns = [[n for n in names if depth[n] == level] for level in range(max(depth.values()) + 1)]
    rows = max(map(len, columns))
    drawing = Drawing(
        150 * len(columns) + 4,
        58 * rows + 10,
        "The packages of persona_affect: an arrow leads from a package to those that import it",
    )
    place = {}
    for x, column in enumerate(columns):
        first = (rows - len(column)) / 2
        for y, name in enumerate(column):
            place[name] = drawing.box(4 + 150 * x, 10 + 58 * (first + y), 128, 36, name)
    boxes, drawing.parts = drawing.parts, []
    for source, user in sorted(arrows):
        drawing.arrow(place[source]["right"], place[user]["left"], bend=True)
    # Boxes come last: a line passes behind a name.
    drawing.parts += boxes
    return drawing


def draw_path():
    """Draw the way of a face through the house."""
    drawing = Drawing(
        900, 92, "A photo or clip becomes frames, boxes, a face clip, an embedding, and numbers"
    )
    steps = [
        (("photo or clip", "path or array"), "media"),
        (("RGB frames", "uint8, any size"), "faces"),
        (("boxes", "and 5 landmarks"), "faces"),
        (("face clip", "(n, 112, 96, 3)"), "networks"),
        (("embedding", "512 numbers"), "estimators"),
        (("numbers", "one a target"), None),
    ]
    last = None
    for i, (lines, package) in enumerate(steps):
        box = drawing.box(4 + 153 * i, 28, 122, 48, *lines, kind="net" if i == 5 else "box")
        if last:
            drawing.arrow(last["right"], box["left"])
        if package:
            drawing.text(4 + 153 * i + 138, 18, package)
        last = box
    return drawing


def draw_persemon():
    """Draw PersEmoN as its figure 2 has it, in training."""
    drawing = Drawing(
        900,
        376,
        "PersEmoN: faces rated on personality and faces rated on "
        "emotion pass the same FEM; PAM, EAM, RAM and the "
        "domain head follow, each with its loss",
    )
    clips = drawing.box(4, 70, 140, 60, "personality set", "3 frames a clip")
    photos = drawing.box(4, 236, 140, 60, "emotion set", "frames")
    fem = drawing.box(196, 136, 128, 94, "FEM", "one network", "for both sets", kind="net")
    pam = drawing.box(400, 12, 150, 46, "PAM", "mean over frames", kind="net")
    ram = drawing.box(400, 104, 150, 46, "RAM", "2 to 32 to 5", kind="net")
    eam = drawing.box(400, 206, 150, 46, "EAM", "arousal, valence", kind="net")
    domain = drawing.box(400, 312, 150, 46, "domain head", "training only", kind="net")
    drawing.arrow(clips["right"], fem["left"], bend=True)
    drawing.arrow(photos["right"], fem["left"], bend=True)
    for head in (pam, eam, domain):
        drawing.arrow(fem["right"], head["left"], bend=True)
    drawing.arrow(eam["top"], ram["bottom"])
    drawing.text(580, 182, "emotion of personality frames")
    losses = [
        (pam, 12, "L per", "traits and their ratings"),
        (ram, 104, "L RAM", "traits from emotion alone"),
        (eam, 206, "L emo", "emotions and their ratings"),
        (domain, 312, "L coh", "which set is it? undecided"),
    ]
    for head, y, name, meaning in losses:
        box = drawing.box(690, y, 204, 46, name, meaning, kind="loss")
        drawing.arrow(head["right"], box["left"])
    return drawing


def draw_sampling():
    """Draw how frames are taken from a clip."""
    drawing = Drawing(
        900,
        130,
        "A clip of 24 frames in three segments; the centre frame of "
        "each is predicted, and the mean of the three counts",
    )
    for i in range(24):
        kind = "net" if i in (3, 11, 19) else "box"
        drawing.box(14 + 27 * i, 30, 22, 30, kind=kind)
    for k in range(3):
        x = 14 + 27 * 8 * k
        drawing.add(f'<path class="dg-line" d="M{x} 20v-6h211v6"/>')
        drawing.text(x + 105, 10, f"segment {k + 1}")
    mean = drawing.box(740, 22, 150, 46, "prediction", "mean of the three", kind="loss")
    for i in (3, 11, 19):
        x = 14 + 27 * i + 11
        drawing.add(f'<path class="dg-line" d="M{x} 62V96H815"/>')
    drawing.arrow((815, 96), mean["bottom"])
    drawing.text(400, 118, "in training a random frame of each segment, in prediction its centre")
    return drawing


def draw_alignment():
    """Draw five landmarks in a photo, and where the similarity puts them."""
    drawing = Drawing(
        760,
        236,
        "Five landmarks of a turned face are moved, turned and "
        "scaled onto the five points of the template",
    )
    drawing.box(4, 8, 300, 210, kind="box")
    drawing.text(154, 232, "photo, with the landmarks of the detector")
    drawing.add(
        '<g transform="rotate(-18 160 110)">'
        '<ellipse class="dg-line" cx="160" cy="110" rx="66" ry="84"/>'
    )
    points = [(133, 88), (186, 88), (160, 116), (139, 146), (182, 146)]
    for x, y in points:
        drawing.add(f'<circle class="dg-point" cx="{x}" cy="{y}" r="4.5"/>')
    drawing.add("</g>")
    drawing.arrow((322, 110), (478, 110))
    drawing.text(400, 80, "similarity transform:")
    drawing.text(400, 98, "move, turn, scale")
    drawing.box(500, 8, 180, 210, kind="net")
    template = [(30.3, 51.7), (65.5, 51.5), (48.0, 71.7), (33.5, 92.4), (62.7, 92.2)]
    for x, y in template:
        cx, cy = 500 + 1.875 * x, 8 + 1.875 * y
        drawing.add(f'<circle class="dg-point" cx="{cx:.1f}" cy="{cy:.1f}" r="4.5"/>')
    drawing.add('<ellipse class="dg-line" cx="590" cy="122" rx="70" ry="90"/>')
    drawing.text(590, 232, "face of 112 x 96 pixels, eyes level")
    return drawing


def draw_dynamics():
    """Draw the two stages of person-specific dynamics, after the abstract of Song et al."""
    drawing = Drawing(
        900,
        336,
        "Stage 1: a generic U-net learns the order of frames from "
        "unlabelled clips. Stage 2: it is frozen, and inserted "
        "filters learn one person. The change of the filters is the "
        "descriptor, from which traits are predicted",
    )
    drawing.text(120, 18, "stage 1: clips of many, no labels", kind="text")
    frame = drawing.box(4, 34, 104, 46, "one face", "frame t")
    net = drawing.box(160, 34, 128, 46, "U-net", "generic", kind="net")
    maps = drawing.box(340, 34, 128, 46, "maps", "one a scale k")
    scores = drawing.box(520, 34, 140, 46, "scores of frames", "t - k to t + k")
    loss = drawing.box(712, 34, 182, 46, "rank loss", "in the order of time", kind="loss")
    for a, b in itertools.pairwise([frame, net, maps, scores, loss]):
        drawing.arrow(a["right"], b["left"])
    drawing.text(430, 136, "stage 2: clips of one person, no labels", kind="text")
    own = drawing.box(4, 152, 104, 46, "one face", "of this person")
    frozen = drawing.box(160, 152, 128, 46, "U-net", "frozen", kind="box")
    filters = drawing.box(160, 236, 128, 46, "filters", "after each level", kind="net")
    loss2 = drawing.box(340, 152, 128, 46, "rank loss", "as in stage 1", kind="loss")
    drawing.arrow(net["bottom"], frozen["top"], dash=True)
    drawing.text(262, 116, "copied")
    drawing.arrow(own["right"], frozen["left"])
    drawing.arrow(frozen["right"], loss2["left"])
    drawing.arrow(filters["top"], frozen["bottom"])
    drawing.text(278, 222, "inserted into it")
    drawing.arrow(loss2["bottom"], filters["right"], dash=True)
    drawing.text(416, 240, "only these learn")
    descriptor = drawing.box(520, 236, 140, 46, "descriptor", "change of filters")
    traits = drawing.box(712, 236, 182, 46, "traits", "ridge, SVR, fusion", kind="net")
    drawing.add('<path class="dg-line" d="M224 282V312H590V286" marker-end="url(#dg-arrow)"/>')
    drawing.arrow(descriptor["right"], traits["left"])
    return drawing


def draw_conformal():
    """Draw how intervals are made."""
    drawing = Drawing(
        900,
        100,
        "Persons whom the model did not learn from give errors; "
        "their quantile is the width of the interval of a new person",
    )
    steps = [
        (("calibration persons", "not in training"), "box"),
        (("errors", "prediction less rating"), "box"),
        (("quantile", "9 in 10 are smaller"), "loss"),
        (("interval", "prediction ± quantile"), "net"),
    ]
    last = None
    for i, (lines, kind) in enumerate(steps):
        box = drawing.box(4 + 238 * i, 26, 176, 48, *lines, kind=kind)
        if last:
            drawing.arrow(last["right"], box["left"])
        last = box
    return drawing


DIAGRAMS = {
    "alignment": draw_alignment,
    "conformal": draw_conformal,
    "dynamics": draw_dynamics,
    "house": draw_house,
    "path": draw_path,
    "persemon": draw_persemon,
    "sampling": draw_sampling,
}


def main():
    """Write all diagrams."""
    for name, draw in DIAGRAMS.items():
        path = DOCS / "diagrams" / f"{name}.svg"
        path.write_text(draw().to_svg(), encoding="utf-8")
        print(path.relative_to(DOCS.parent))


if __name__ == "__main__":
    main()
