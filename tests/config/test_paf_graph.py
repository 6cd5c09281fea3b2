"""Graphs of part-affinity fields: complete, pruned, from the skeleton, explicit, and mistaken."""

import networkx
import pytest
from omegaconf import OmegaConf

from dlcexp.composition import compose
from dlcexp.config.paf_graph import check_fields, edges_of, spanning_tree
from dlcexp.errors import ConfigError, UserError

NAMES = ["snout", "left_ear", "right_ear", "tail"]


def names(number):
    return [f"bodypart{i}" for i in range(number)]


@pytest.mark.parametrize("number", [2, 7, 14])
def test_few_bodyparts_are_all_linked(number):
    graph = edges_of("complete", names(number), [], seed=0)
    assert [tuple(edge) for edge in graph] == list(networkx.complete_graph(number).edges)


@pytest.mark.parametrize("number", [15, 16, 20, 30])
def test_of_many_bodyparts_as_many_pairs_are_linked_as_by_deeplabcut(number):
    graph = edges_of("complete", names(number), [], seed=7)
    # What DeepLabCut 3.0.2 chose for these numbers: 45, 48, 60 and 90.
    assert len(graph) == 3 * number == len({tuple(edge) for edge in graph})
    assert all(first < second for first, second in graph)
    assert networkx.is_connected(networkx.Graph(graph))
    assert networkx.Graph(graph).number_of_nodes() == number
    assert graph == edges_of("complete", names(number), [], seed=7)
    assert graph != edges_of("complete", names(number), [], seed=8)


def test_the_skeleton_of_the_project_and_limbs_by_name_or_index():
    skeleton = [["tail", "snout"], ["snout", "left_ear"], ["left_ear", "corner"]]
    assert edges_of("skeleton", NAMES, skeleton, seed=0) == [[0, 3], [0, 1]]
    assert edges_of([["tail", "snout"], [2, 0]], NAMES, [], seed=0) == [[3, 0], [2, 0]]


def test_a_spanning_tree_prefers_the_edges_named_first():
    weights = {(0, 1): 3, (1, 2): 5, (0, 2): 4, (2, 3): 1, (1, 3): 2}
    ranked = sorted(weights, key=lambda edge: -weights[edge])
    graph = networkx.Graph()
    graph.add_weighted_edges_from((*edge, weight) for edge, weight in weights.items())
    expected = networkx.maximum_spanning_tree(graph).edges
    assert set(spanning_tree(ranked, 4)) == {tuple(sorted(edge)) for edge in expected}


def test_the_seed_of_the_tree_prunes_and_the_network_follows(tmp_path):
    config = {
        "Task": "ants",
        "scorer": "me",
        "date": "Nov24",
        "multianimalproject": True,
        "individuals": ["one", "two"],
        "multianimalbodyparts": names(16),
        "uniquebodyparts": [],
        "skeleton": [],
        "identity": False,
        "video_sets": {},
    }
    OmegaConf.save(config, tmp_path / "config.yaml")
    heads = [
        compose(f"project={tmp_path}", "model=paf", f"seed={seed}").model.heads.bodypart
        for seed in (1, 2)
    ]
    for head in heads:
        graph = head.predictor.graph
        assert head.target_generator.generators[1].graph == graph
        assert head.paf_config.channels[-1] == 2 * len(graph) == 96
        assert head.predictor.edges_to_keep == list(range(48))
    assert heads[0].predictor.graph != heads[1].predictor.graph
    with pytest.raises(ConfigError, match=r"^model\.recipe\.graph: .*skeleton"):
        compose(f"project={tmp_path}", "model=paf", "model.recipe.graph=skeleton")


def test_a_skeleton_of_other_things_is_told():
    with pytest.raises(ConfigError, match=r"^model\.recipe\.graph: .*objectA-objectB"):
        edges_of("skeleton", NAMES, [["objectA", "objectB"]], seed=0)


PREDICTOR = "model.heads.bodypart.predictor"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model.recipe.graph=skeletn", r"^model\.recipe\.graph: 'skeletn'.*'skeleton'"),
        ("model.recipe.graph=[[snout,tialtip]]", r"^model\.recipe\.graph: 'tialtip'.*'tailtip'"),
        ("model.recipe.graph=[[0,1,2]]", r"^model\.recipe\.graph: \[0, 1, 2\] "),
        (
            "model.recipe.graph=[[0,1],[1,2]]",
            r"graph: .*snout.*tailbase",
        ),
        (
            f"{PREDICTOR}.graph=[[0,99]]",
            r"graph: \[0, 99\] .*tailtip",
        ),
        (f"{PREDICTOR}.graph=[[0,0]]", r"predictor\.graph: \[0, 0\] "),
        (f"{PREDICTOR}.graph=[[0,1],[1,0]]", r"predictor\.graph: "),
        (f"{PREDICTOR}.edges_to_keep=[21]", r"predictor\.edges_to_keep: 21 .*0 to 20"),
        (f"{PREDICTOR}.edges_to_keep=null", r"edges_to_keep: None "),
        (f"~{PREDICTOR}.edges_to_keep", r"predictor: .*edges_to_keep"),
        (f"{PREDICTOR}.edges_to_keep=[1,1]", r"predictor\.edges_to_keep: \[1, 1\]"),
        (f"{PREDICTOR}.edges_to_keep=3", r"predictor\.edges_to_keep: 3 "),
        (f"{PREDICTOR}.edges_to_keep=[a]", r"predictor\.edges_to_keep: \['a'\] "),
        (f"{PREDICTOR}.graph=complete", r"predictor\.graph: 'complete' .*a list"),
        (f"{PREDICTOR}.edges_to_keep=[0]", r"predictor\.edges_to_keep: .*snout"),
        (
            "model.heads.bodypart.paf_config.channels=[32,10]",
            r"^model\.heads\.bodypart\.paf_config\.channels: .*10.* 42 .*model\.recipe\.graph",
        ),
    ],
)
def test_a_mistake_in_the_graph_names_its_key(word, message):
    with pytest.raises(UserError, match=message):
        compose("model=paf", word)


def test_targets_of_another_graph_are_told():
    tree = compose("model=paf")
    other = list(reversed(tree.model.heads.bodypart.predictor.graph))
    tree.model.heads.bodypart.target_generator.generators[1].graph = other
    with pytest.raises(ConfigError, match=r"generators\[1\]\.graph: .*predictor\.graph"):
        check_fields(OmegaConf.to_container(tree.model.heads.bodypart), "model.heads.bodypart")
