"""The viewer in a notebook: the same page, whose requests are messages to the kernel."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr
from pydantic import ValidationError

from sarcast.errors import SarcastError
from sarcast.prediction.predictors import load_predictor
from sarcast.viewer.answers import Answers
from sarcast.viewer.requests import KINDS, REFUSALS, Answer, as_bytes, refused
from sarcast.viewer.server import STATIC
from sarcast.viewer.view import Opened, Shown, open_path, view_of_cube
from sarcast.windows import Predictor, PreviousOptions

if TYPE_CHECKING:
    import anywidget

_log = logging.getLogger(__name__)
_WORKERS = 3
_AS_MODULE = "\nexport default sarcastViewer.widget;\n"


def view(
    shown: xr.Dataset | Path | str,
    model: Predictor | Path | str | None = None,
    *,
    baseline: PreviousOptions | None = None,
    cube: Path | str | None = None,
    height: int = 600,
) -> "anywidget.AnyWidget":
    """Show a cube, a detection or alerts as a map in a notebook.

    Parameters
    ----------
    shown
        A cube, or its path, or the path of a folder that ``detect`` or ``monitor`` wrote.
    model
        A model, or its folder or ``"base"``, or the name of a strategy, for expected images.
    baseline
        Which previous images; default: those that a detection used, or those of ``predict``.
    cube
        Path of the cube of a detection or of alerts, if it is not where it was.
    height
        Of the map, pixels of the screen.

    Returns
    -------
    anywidget.AnyWidget
        Shown by the notebook when it is the last value of a cell.

    Raises
    ------
    SarcastError
        If ``sarcast[notebook]`` is not installed, or nothing can be shown.

    Examples
    --------
    The last line of a cell shows the map:

    >>> cube = sarcast.open_cube("area.zarr")
    >>> map_of_cube = sarcast.view(cube, "base", height=400)
    >>> map_of_cube.height
    400
    """
    predictor = load_predictor(Path(model)) if isinstance(model, str | Path) else model
    how = Shown(predictor, baseline, None if cube is None else Path(cube))
    if isinstance(shown, xr.Dataset):
        opened = Opened(lambda _version: view_of_cube(shown, "cube", how))
    else:
        opened = open_path(Path(shown), how)
    return _widget_class()(Answers(opened), height)


class Messages:
    """Answers the messages of a widget in threads, so that a newer one can cancel an older one.

    Parameters
    ----------
    answers
        What answers.
    send
        Sends a message and its buffers.
    """

    def __init__(
        self, answers: Answers, send: Callable[[dict[str, Any], list[bytes]], None]
    ) -> None:
        self._answers, self._send = answers, send
        self._threads = ThreadPoolExecutor(_WORKERS, "sarcast-view")

    def receive(self, content: Any) -> None:
        """Begin to answer a message; one that is none of the page's is left."""
        if isinstance(content, dict) and "id" in content:
            self._threads.submit(self._reply, content["id"], self._work(content))

    def _reply(self, number: Any, work: Callable[[], Answer]) -> None:
        answer = _explained(work)
        value: Any = answer.content
        buffers: list[bytes] = []
        if isinstance(value, str):
            value = {"csv": value}
        elif hasattr(value, "dtype"):
            buffers = [as_bytes(value)]
            value = dict(answer.about)
        self._send({"id": number, "status": answer.status, "json": value}, buffers)

    def _work(self, content: dict[str, Any]) -> Callable[[], Answer]:
        """What answers a message; an image under other conditions begins with its arrival."""
        kind, words = str(content.get("request")), content.get("arguments", {})
        try:
            asked = KINDS[kind].model.model_validate(words)
        except (KeyError, TypeError):
            return partial(Answer, {"error": f"there is no request {kind!r}"}, 400)
        except ValidationError as error:
            return partial(refused, error)
        return self._answers.work(kind, asked)


def _explained(work: Callable[[], Answer]) -> Answer:
    """Answer, or explain why there is none: the page would wait for ever."""
    try:
        return work()
    except REFUSALS as error:
        return refused(error)
    except Exception as error:
        _log.exception("a request of the viewer failed")
        return Answer({"error": f"the request failed: {type(error).__name__}"}, 500)


def _widget_class() -> Any:
    """The class of the widget; anywidget is an extra."""
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise SarcastError(
            "a map in a notebook needs anywidget: pip install 'sarcast[notebook]'; or use "
            "sarcast view on the command line"
        ) from error

    class Map(anywidget.AnyWidget):  # type: ignore[misc]
        """A map of a cube, a detection or alerts."""

        _esm = (STATIC / "viewer.js").read_text(encoding="utf-8") + _AS_MODULE
        _css = (STATIC / "viewer.css").read_text(encoding="utf-8")
        height = traitlets.Int(600).tag(sync=True)

        def __init__(self, answers: Answers, height: int) -> None:
            super().__init__(height=height)
            self.answers = answers
            messages = Messages(answers, self.send)
            self.on_msg(lambda _widget, content, _buffers: messages.receive(content))

    return Map
