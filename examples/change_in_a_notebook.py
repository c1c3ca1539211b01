"""From a cube to a change map and its evaluation, in Python alone.

    python examples/change_in_a_notebook.py CUBE [MODEL]

CUBE is a cube that ``sarcast cube`` built, MODEL a model folder, by default the shipped weights.
Every step takes and returns xarray objects, as a cell of a notebook would.
"""

import sys

import numpy as np
from sklearn.ensemble import RandomForestClassifier

import sarcast
from sarcast.api import WindowOptions
from sarcast.detection.classifiers import Otsu, PixelEstimator, linear_svc
from sarcast.evaluation.experiment import ExperimentOptions
from sarcast.evaluation.simulation.changes import Offset
from sarcast.evaluation.simulation.shapes import ShapeOptions


def main(path: str, model_path: str = "base") -> None:
    """Run the steps and print the result of each."""
    rng = np.random.default_rng(0)
    cube = sarcast.open_cube(path)
    model = sarcast.load_model(model_path)

    # The newest image, and the image that the model expects on its date.
    newest = cube["time"][-1]
    actual = cube["backscatter"].sel(time=newest)
    expected = sarcast.predict(cube, model, at=newest)

    # Their difference, in dB and in predicted standard deviations.
    difference = sarcast.difference(actual, expected)
    z = sarcast.difference(actual, expected, "z")
    print(f"residual: {float(difference.std()):.2f} dB, {float(z.std()):.2f} standard deviations")

    # Change maps by an automatic threshold, and by a function of your own.
    by_otsu = sarcast.classify(difference, Otsu(), learn=True)
    darker = sarcast.classify(z, lambda image: image.sum(axis=0) < -4.0)
    print(f"changed: Otsu {float(by_otsu.mean()):.1%}, own function {float(darker.mean()):.1%}")

    # In one call: events, dated and outlined, and the evidence. Three acquisitions are watched by
    # default, but a short series has no room for replays of three.
    detection = sarcast.detect(cube, model, acquisitions=1, previous=4)
    area_ha = detection.events["area_ha"].sum()
    print(f"detect: {len(detection.events)} events, {area_ha:.1f} ha")
    strongest = float(detection.images["evidence"].max())
    print(f"greatest evidence: {strongest:.1f}, of which {detection.threshold:.1f} make an event")

    # A supervised classifier needs changes at known pixels: simulate some in the image.
    simulated = sarcast.simulate_change(actual, Offset((-4.0, -4.0)), rng=rng)
    with_change = sarcast.difference(simulated["backscatter"], expected)
    forest = PixelEstimator("random forest", RandomForestClassifier(20, random_state=0), rng=rng)
    changed = sarcast.classify(with_change, forest, changed=simulated["changed"])
    rate = float(changed.where(simulated["changed"]).mean())
    print(f"random forest: {rate:.1%} of the changed pixels detected")

    # Evaluation: changes simulated at the last three dates, the conventional strategies beside the
    # model. The classifier is fitted on the first window and evaluated on the others.
    scores = sarcast.evaluate(
        cube,
        [model],
        windows=WindowOptions(start=cube["time"][-3]),
        classifiers=[linear_svc(rng=rng)],
        options=ExperimentOptions(shapes=ShapeOptions(least=1), fit_windows=1),
        rng=rng,
    )
    accuracy = scores["accuracy"].sel(predictor=model.name, classifier="linear SVC")
    print(f"linear SVC: accuracy {float(accuracy[0]):.1%}")
    auc = scores["auc"].sel(difference="norm").isel(change=0)
    print(auc.to_series().sort_values().round(3).to_string())


if __name__ == "__main__":
    main(*sys.argv[1:])
