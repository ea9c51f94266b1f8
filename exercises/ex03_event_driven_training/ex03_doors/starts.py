"""What starts runs in Airflow: its REST API, its triggerer, its asset events."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from course.grading import Lesson, Run
from ex03_doors.broker import PATIENCE


class Heard(NamedTuple):
    """What one life of a trigger came to: an event, an error, or nothing in time."""

    payload: Any = None
    error: Exception | None = None
    silent: bool = False
    watched: bool = True
    """False if there is no trigger that could live."""


class Airflow:
    """Airflow, once it has read the file."""

    def __init__(self, lesson: Lesson) -> None:
        self._lesson = lesson
        self._read()
        self._switch_on()
        # Airflow keeps the watchers of those DAGs only that are switched on.
        self._read()

    def _read(self) -> None:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

        manager = DagBundlesManager()
        manager.sync_bundles_to_db()
        for bundle in manager.get_all_dag_bundles():
            bundle.initialize()
            bag = BundleDagBag(bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
            sync_bag_to_db(bag, bundle.name, bundle.version)

    def _switch_on(self) -> None:
        from airflow.models.asset import AssetActive, AssetModel
        from airflow.models.dag import DagModel
        from airflow.utils.session import create_session
        from sqlalchemy import select, update

        with create_session() as session:
            session.execute(update(DagModel).values(is_paused=False))
            for asset in session.scalars(select(AssetModel).where(~AssetModel.active.has())):
                session.add(AssetActive.for_asset(asset))

    def post(self, dag_id: str, conf: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Ask for a run at the route of the REST API; return status and body."""
        import httpx
        from airflow.api_fastapi.app import create_auth_manager
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
        from airflow.api_fastapi.common.dagbag import create_dag_bag
        from airflow.api_fastapi.core_api.routes.public.dag_run import dag_run_router
        from airflow.api_fastapi.core_api.security import get_user
        from fastapi import FastAPI

        app = FastAPI()
        app.include_router(dag_run_router, prefix="/api/v2")
        app.state.dag_bag = create_dag_bag()
        create_auth_manager()
        # Who asks has logged in; everything else is the route itself.
        app.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(
            username="learner", role="admin"
        )

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
                body = {"logical_date": None, "conf": dict(conf)}
                return await client.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body)

        answer = asyncio.run(ask())
        return answer.status_code, answer.json()

    def watcher(self) -> tuple[int, str, dict[str, Any]] | None:
        """Id, class and arguments of the first trigger that watches an asset of `ex03_train`."""
        from airflow.models.asset import AssetModel, DagScheduleAssetReference
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            reference = DagScheduleAssetReference
            found = select(AssetModel).join(reference, reference.asset_id == AssetModel.id)
            assets = session.scalars(found.where(reference.dag_id == "ex03_train"))
            triggers = [trigger for asset in assets.unique() for trigger in asset.triggers]
            if not triggers:
                return None
            return triggers[0].id, triggers[0].classpath, dict(triggers[0].kwargs)

    def listen(self) -> Heard:
        """One life of the watcher's trigger, made and ended as the triggerer does it."""
        from airflow.sdk._shared.module_loading import import_string

        watcher = self.watcher()
        if watcher is None:
            return Heard(watched=False)
        _, classpath, kwargs = watcher

        async def live() -> Heard:
            trigger = import_string(classpath)(**kwargs)
            try:
                event = await asyncio.wait_for(anext(trigger.run()), PATIENCE)
                # Airflow stores it as JSON.
                json.dumps(event.payload)
            except TimeoutError:
                return Heard(silent=True)
            except Exception as error:
                return Heard(error=error)
            finally:
                await trigger.cleanup()
            return Heard(event.payload)

        return asyncio.run(live())

    def fire(self, *payloads: Any) -> list[int]:
        """Store events of the watcher, as the triggerer does; return the ids of asset events."""
        from airflow.models.trigger import Trigger
        from airflow.triggers.base import TriggerEvent
        from airflow.utils.session import create_session

        before, watcher = self.mark(), self.watcher()
        if watcher is None:
            raise RuntimeError("no watcher, so there is no event to store")
        with create_session() as session:
            for payload in payloads:
                Trigger.submit_event(watcher[0], TriggerEvent(payload), session=session)
        return self.events(before)

    def mark(self) -> int:
        """The id of the newest asset event, 0 if there is none."""
        return max(self.events(0), default=0)

    def events(self, after: int) -> list[int]:
        """Ids of the asset events that start `ex03_train` and are newer than a mark."""
        from airflow.models.asset import AssetEvent, DagScheduleAssetReference
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            reference = DagScheduleAssetReference
            found = select(AssetEvent.id).join(reference, reference.asset_id == AssetEvent.asset_id)
            wanted = (reference.dag_id == "ex03_train", AssetEvent.id > after)
            return list(session.scalars(found.where(*wanted).order_by(AssetEvent.id)))

    def follow(self, mark: int, told: str, *, lake: str) -> list[Run]:
        """Run what another DAG has started since: by asset events, or by asking for runs."""
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session
        from airflow.utils.types import DagRunType
        from sqlalchemy import select

        with create_session() as session:
            kind = DagRun.run_type == DagRunType.OPERATOR_TRIGGERED
            rows = session.scalars(select(DagRun).where(kind, DagRun.dag_id == "ex03_train"))
            confs = [dict(row.conf or {}) for row in rows]
        # However many events there are, Airflow makes one run of those that come together.
        runs = [self.run(None, told, lake=lake, event=event) for event in self.events(mark)[:1]]
        return runs + [self.run(conf, told, lake=lake) for conf in confs]

    def run(
        self, conf: Mapping[str, Any] | None, told: str, *, lake: str, event: int | None = None
    ) -> Run:
        """Run `ex03_train` as one that was asked for, or as one that an asset event started.

        Such runs have no logical date; ``dag.test`` alone would give them one.
        """
        with _started_by(event):
            return self._lesson.run(conf, dag_id="ex03_train", lake=lake, fresh=True, told=told)


@contextmanager
def _started_by(event_id: int | None) -> Iterator[None]:
    from airflow.models.asset import AssetEvent
    from airflow.models.dagrun import DagRun
    from airflow.utils.types import DagRunType
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    def change(session: Session, *_: Any) -> None:
        for run in session.new:
            if isinstance(run, DagRun) and run.logical_date is not None:
                run.logical_date = run.data_interval_start = run.data_interval_end = None
                if event_id is not None:
                    run.run_type = DagRunType.ASSET_TRIGGERED
                    with session.no_autoflush:
                        run.consumed_asset_events.append(session.get(AssetEvent, event_id))

    event.listen(Session, "before_flush", change)
    try:
        yield
    finally:
        event.remove(Session, "before_flush", change)
