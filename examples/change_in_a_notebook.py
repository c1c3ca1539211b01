"""From a cube to a change map and its proof, in Python alone.

    python examples/change_in_a_notebook.py CUBE [MODEL]

CUBE is what ``sarcast cube`` builds, MODEL a model folder; by default the shipped weights. Every
step takes and gives xarray, as a cell of a notebook would.
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
    """Go through the steps, and print what each of them gives."""
    rng = np.random.default_rng(0)
    cube = sarcast.open_cube(path)
    model = sarcast.load_model(model_path)

    # The newest image, and what it should look like.
    actual = cube["backscatter"].isel(time=-1)
    expected = sarcast.predict(cube, model, at=cube["time"][-1])

    # What is left is what changed: in units of dB, and of the standard deviation expected.
    difference = sarcast.difference(actual, expected)
    z = sarcast.difference(actual, expected, "z")
    print(f"unchanged ground: {float(difference.std()):.2f} dB, {float(z.std()):.2f} sigma")

    # A change map by a threshold that finds itself, and one by a rule of your own.
    found = sarcast.classify(difference, Otsu(), learn=True)
    darker = sarcast.classify(z, lambda image: image.sum(axis=0) < -4.0)
    print(f"Otsu: {float(found.mean()):.1%} changed; own rule: {float(darker.mean()):.1%}")

    # A classifier that learns needs changes whose place is known: put some into the image.
    changed = sarcast.simulate_change(actual, Offset((-4.0, -4.0)), rng=rng)
    lesson = sarcast.difference(changed["backscatter"], expected)
    forest = PixelEstimator("random forest", RandomForestClassifier(20, random_state=0), rng=rng)
    caught = sarcast.classify(lesson, forest, changed=changed["changed"])
    print(f"random forest: {float(caught.where(changed['changed']).mean()):.1%} of them caught")

    # The proof: changes simulated at the last three dates, strategies beside the model. What the
    # classifier learns from the first window is tried on the others.
    proof = sarcast.evaluate(
        cube,
        [model],
        windows=WindowOptions(start=str(cube["time"].values[-3])),
        classifiers=[linear_svc(rng=rng)],
        options=ExperimentOptions(shapes=ShapeOptions(least=1), fit_windows=1),
        rng=rng,
    )
    right = proof["accuracy"].sel(predictor=model.name, classifier="linear SVC")
    print(f"linear SVC: {float(right[0]):.1%} right")
    auc = proof["auc"].sel(difference="norm").isel(change=0)
    print(auc.to_series().sort_values().round(3).to_string())


if __name__ == "__main__":
    main(*sys.argv[1:])
