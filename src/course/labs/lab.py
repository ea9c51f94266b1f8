"""What every troubleshooting lab can do."""

from abc import ABC, abstractmethod

from course.labs.scene import Scene


class Lab(ABC):
    """A fault with a name: planted on request, undone on request, known by nobody in between.

    It leaves no marker. What it plants has fixed names, so that planting twice changes nothing and
    mending needs to remember nothing.
    """

    name: str
    title: str
    dag_ids: tuple[str, ...]

    @abstractmethod
    def plant(self, scene: Scene) -> str:
        """Plant the fault, wait until it shows, and say what a person sees and where."""

    def mend(self, scene: Scene) -> None:
        """Remove all that the lab or the person who played it has left."""
        scene.remove_files()
        for dag_id in self.dag_ids:
            scene.forget(dag_id)
