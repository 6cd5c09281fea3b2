"""Names of files, folders, heads and starts, which several parts of dlcexp read."""

# A project of DeepLabCut, and its labels
PROJECT_FILE = "config.yaml"
LABELED_DATA = "labeled-data"
LABELS = "CollectedData_"
LABEL_TABLE = "df_with_missing"
# The individual under which tables have the bodyparts that exist once in a frame.
UNIQUE = "single"

# Its shuffles
TRAINING_SETS = "training-datasets"
MODELS = "dlc-models-pytorch"
ITERATION = "iteration-"
SHUFFLES = "metadata.yaml"
POSE_CONFIG = "pytorch_config.yaml"

# A run folder, which has a POSE_CONFIG, too
TREE_FILE = "config.yaml"
OVERRIDES = "overrides.yaml"
ENVIRONMENT = "environment.json"
STATUS = "status.json"
METRICS = "metrics.json"
HISTORY = "metrics.csv"
KEYPOINT_ERRORS = "keypoint_errors.csv"
SNAPSHOTS = "snapshots"
FIGURES = "figures"
LOG = "log.txt"
CALIBRATION = "calibration.json"

# A sweep folder
SWEEP_FILE = "sweep.yaml"

# Heads of a model
BODYPART = "bodypart"
UNIQUE_BODYPART = "unique_bodypart"
IDENTITY = "identity"

# Starts of a network, as `weights` and `model.backbone.weights` name them
AUTO = "auto"
RANDOM = "random"
IMAGENET = "imagenet"
POSE_WEIGHTS = "pose"
BACKBONE_STARTS = (AUTO, IMAGENET, POSE_WEIGHTS, RANDOM)
