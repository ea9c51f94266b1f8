"""
### Let a person decide whether the challenger becomes champion

**What runs.** `compare` puts the version in staging beside the champion; if they are the same or
nothing is staged there is nothing to decide, and the report says so. → `approve` asks a person and
waits, without taking a worker's slot, for up to 24 hours. → `promote` moves the alias `champion`,
or `keep` leaves it where it is: a no, and silence, are decisions and no failures. → `report`.

**How to start it.** By itself when `train_delay_model` deploys to staging; or trigger it. To
answer, open *Required Actions* in the UI, or send
`PATCH /api/v2/dags/promote_model/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails` with
`{"chosen_options": ["Approve"]}` or `["Reject"]`.

**When it fails.** `promote`: staging names another version than the approved one by now, and the
champion stays; the newer version asks in a run of its own. `compare`: MLflow does not answer, or a
version lacks its metrics; the message names it.
"""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import TriggerRule, dag, get_current_context, task

from course_pipelines import CHAMPION_MODEL, DEFAULT_ARGS, STAGING_MODEL, Tag

YES, NO = "Approve", "Reject"
HOURS = 24


@dag(
    schedule=[STAGING_MODEL],
    catchup=False,
    max_active_runs=4,
    default_args=DEFAULT_ARGS,
    tags=[Tag.PRODUCTION],
    doc_md=__doc__,
)
def promote_model():
    @task
    def compare() -> dict[str, Any]:
        """Versions behind `staging` and `champion`; None where there is none."""
        from flightdelays import promotion

        return dict(promotion.compare())

    # Without a question only what asks and acts is skipped: the report is written all the same.
    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def has_challenger(compared: dict[str, Any]) -> str:
        """The question to a person; nothing if there is nothing to decide."""
        from flightdelays import promotion

        return promotion.question(compared) if promotion.is_open(compared) else ""

    # Not ApprovalOperator: when the answer is no it leaves no XCom that says whose.
    # [START approve]
    approve = HITLOperator(
        task_id="approve",
        subject="Shall v{{ ti.xcom_pull(task_ids='compare')['challenger'] }} become the champion?",
        body="{{ ti.xcom_pull(task_ids='has_challenger') }}\n\n"
        f"Without an answer within {HOURS} hours the champion stays.",
        options=[YES, NO],
        defaults=NO,
        response_timeout=timedelta(hours=HOURS),
        doc="What a person answers, and who; silence is a no.",
    )
    # [END approve]

    @task.branch
    def decide(answer: dict[str, Any]) -> str:
        """Promote what was approved; otherwise keep the champion."""
        from flightdelays import promotion

        return "promote" if promotion.is_approval(answer) else "keep"

    # One at a time: of two approvals the one of what is staged last must win.
    @task(outlets=[CHAMPION_MODEL], max_active_tis_per_dag=1)
    def promote(compared: dict[str, Any], answer: dict[str, Any]) -> int:
        """Move the alias `champion` to the approved version, if that is still in staging."""
        from course_metrics import send_deployment
        from flightdelays import registry

        registry.promote(compared["challenger"], answer["responded_by_user"]["name"])
        send_deployment(compared["challenger"], [registry.CHAMPION])
        return compared["challenger"]

    @task
    def keep(compared: dict[str, Any], answer: dict[str, Any]) -> str:
        """Leave the champion as it is, and say who wants it so."""
        from flightdelays import promotion

        reason = promotion.sentence(compared, answer)
        print(reason)
        return reason

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def report(compared: dict[str, Any]) -> str:
        """Path of the verdict; the page for people lies beside it."""
        from flightdelays import promotion

        context = get_current_context()
        # Only ask for the result of a task that ran: a missing one is logged as an error.
        asked = promotion.is_open(compared)
        answer = context["ti"].xcom_pull(task_ids="approve") if asked else None
        return promotion.report(compared, answer, context["run_id"])

    compared, answer = compare(), approve.output
    has_challenger(compared) >> approve
    outcomes = [promote(compared, answer), keep(compared, answer)]
    decide(answer) >> outcomes >> report(compared)


promote_model()
