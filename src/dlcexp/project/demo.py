"""The configuration of the synthetic demo project, known without drawing it.

`project=demo` opens it; `dlcexp.data.draw_demo` draws it when the frames are needed.
"""

from platformdirs import user_cache_path

from dlcexp.project.model import Project
from dlcexp.vocabulary import PROJECT_FILE

# Raised with every change of the drawing, so that no cache holds an older one.
DRAWING = 1
IMAGE_SIZE = 160
SCORER = "dlcexp"
DATE = "Nov24"
VIDEOS = ("sand", "moss", "litter")
# Of each video, the frames 0, 3, 6, ... are labelled.
FRAMES = 84
LABELED_EVERY = 3
FRAMES_PER_SECOND = 25
BODYPARTS = (
    "snout",
    "left_forefoot",
    "right_forefoot",
    "tailbase",
    "left_hindfoot",
    "right_hindfoot",
    "tailtip",
)
INDIVIDUALS = ("amber", "slate")
SKELETON = (
    ("snout", "left_forefoot"),
    ("snout", "right_forefoot"),
    ("snout", "tailbase"),
    ("tailbase", "left_hindfoot"),
    ("tailbase", "right_hindfoot"),
    ("tailbase", "tailtip"),
)


def demo_head() -> Project:
    """Return the demo project in the user's cache, whether or not it has been drawn."""
    root = user_cache_path("dlcexp") / f"demo-{DRAWING}"
    return Project(
        source=root / PROJECT_FILE,
        root=root,
        kind="dlc",
        name="demo",
        scorer=SCORER,
        date=DATE,
        multianimal=True,
        bodyparts=BODYPARTS,
        unique_bodyparts=(),
        individuals=INDIVIDUALS,
        with_identity=False,
        skeleton=SKELETON,
        iteration=0,
        pcutoff=0.6,
        labeled_data=dict.fromkeys(sorted(VIDEOS), len(range(0, FRAMES, LABELED_EVERY))),
    )
