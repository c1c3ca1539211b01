import numpy as np

from sarcast.evaluation.cases import PREDICTION
from sarcast.evaluation.metrics import Confusion, Evaluator, MapKey, ScoreKey, count_scores
from sarcast.evaluation.paper import ABLATION, ablation_table, network_of, paper_tables

ROLES = {
    "unet": "network",
    "unet without weather": "network",
    "unet without heading": "network",
    "closest-geometry": "strategy",
    "latest": "strategy",
}
CHANGES = ("offset -2.5 dB", "statistical")


def evaluation(roles=ROLES):
    rng = np.random.default_rng(0)
    evaluator = Evaluator(roles)
    changed = rng.random(4000) < 0.3
    for rank, method in enumerate(roles):
        for change in CHANGES:
            scores = rng.random(4000, dtype=np.float32) + (0.9 - 0.15 * rank) * changed
            state = count_scores(scores.astype(np.float32), changed)
            evaluator.add_scores(ScoreKey(method, change, "norm"), state, "w")
            right = 90.0 - 10.0 * rank
            counts = Confusion(right, 100.0 - right, 100.0 - right, right)
            evaluator.add_map(MapKey(method, change, "linear SVC"), counts, "w")
            evaluator.add_map(MapKey(method, change, "otsu"), Confusion(1, 1, 1, 1), "w")
    return evaluator.result("t", {}, rng=rng)


def test_tables_take_the_right_results():
    found = evaluation()
    auc = {(r.method, r.change): r.auc for r in found.results}
    methods, threshold, svc = paper_tables(found)
    assert [row[:2] for row in methods.rows] == [
        ("closest-geometry", 0.79),
        ("latest-same-pass", 0.75),
        ("latest", 0.71),
    ]
    assert [row[2] for row in methods.rows] == [
        auc["closest-geometry", CHANGES[0]],
        None,
        auc["latest", CHANGES[0]],
    ]
    assert [row[1:] for row in threshold.rows] == [
        (0.87, auc["unet", CHANGES[0]]),
        (0.79, auc["closest-geometry", CHANGES[0]]),
        (0.73, auc["unet", CHANGES[1]]),
        (0.67, auc["closest-geometry", CHANGES[1]]),
        (0.83, auc["unet without weather", CHANGES[0]]),
    ]
    assert [row[1:] for row in svc.rows] == [(0.89, 0.9), (0.81, 0.6), (0.75, 0.9), (0.70, 0.6)]


def test_ablation_takes_the_network_of_each_condition():
    table = ablation_table(evaluation(), {"heading": "unet without heading"})
    assert [row[1] for row in table.rows] == [0.89, *ABLATION.values()]
    reached = {name: accuracy for name, _, accuracy in table.rows}
    assert reached["without heading"] == 0.7
    assert reached["all conditions"] == 0.9
    assert sum(accuracy is None for accuracy in reached.values()) == 5


def test_a_network_takes_precedence_over_recorded_predictions():
    both = evaluation({PREDICTION: "network", **ROLES})
    assert network_of(both) == "unet"
    _, threshold, _ = paper_tables(both)
    auc = {r.method: r.auc for r in both.results if r.change == CHANGES[0]}
    assert threshold.rows[0][2] == auc["unet"]
    assert threshold.rows[-1][2] == auc["unet without weather"]
    assert network_of(evaluation({PREDICTION: "network", "latest": "strategy"})) == PREDICTION


def test_an_evaluation_without_a_network_leaves_gaps():
    bare = evaluation()
    bare = bare.model_copy(
        update={"results": tuple(r for r in bare.results if r.role == "strategy")}
    )
    assert network_of(bare) is None
    _, threshold, _ = paper_tables(bare)
    assert threshold.rows[0][2] is None
    assert threshold.rows[1][2] is not None
