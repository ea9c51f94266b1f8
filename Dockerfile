# The images of the course. Three of them can be asked for:
#   docker build --target airflow .        Airflow, and all that its tasks import
#   docker build --target training .       the ML code alone, for pods, MLflow and the model server
#   docker build --target training-gpu .   the same with XGBoost for CUDA
# Versions and hashes are those of the laptop's lock (requirements/ is cut out of it). No step needs
# BuildKit: the classic builder makes the same images.
FROM python:3.11-slim-bookworm AS base
# OpenMP for the boosting libraries; tini passes signals on and collects orphans. With pgrep, out of
# procps, Airflow ends the sidecar of a pod that has failed; it would keep the pod's GPU.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 procps tini \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/course/src \
    PYTHONUNBUFFERED=1 \
    HOME=/home/course \
    # Any user id may run the image, also one without a name; some libraries ask for a name.
    USER=course \
    MPLBACKEND=Agg \
    OMP_WAIT_POLICY=PASSIVE \
    OPENBLAS_NUM_THREADS=1
# The group 0 owns what is written to, so that a platform may choose the user id.
RUN useradd --uid 50000 --gid 0 --no-create-home --home-dir /home/course course \
    && install --directory --owner=course --group=0 --mode=0775 \
        /home/course /opt/course /opt/course/site /opt/course/incoming /opt/airflow /opt/airflow/logs
WORKDIR /opt/course

FROM base AS installer
RUN pip install --no-cache-dir uv==0.13.9 \
    && uv venv --no-cache --python python3.11 /opt/venv
ENV VIRTUAL_ENV=/opt/venv
COPY requirements/ /tmp/requirements/

FROM installer AS training-packages
RUN uv pip install --no-cache --compile-bytecode --require-hashes \
    --requirement /tmp/requirements/training.txt

# Airflow's packages come on top of those of the training image, which are not installed twice.
FROM training-packages AS airflow-packages
RUN uv pip install --no-cache --compile-bytecode --require-hashes \
    --requirement /tmp/requirements/airflow.txt

# What changes most comes last: an edit makes a layer of a megabyte, not one with all packages.
FROM scratch AS code
COPY docker/entrypoint docker/health.py /course/docker/
COPY src/ /course/src/
COPY feature_repo/ /course/feature_repo/
COPY dags/market_models.yaml /course/dags/

FROM base AS training
COPY --from=training-packages /opt/venv /opt/venv
COPY --from=code --chown=50000:0 /course/ /opt/course/
ENTRYPOINT ["tini", "-g", "--", "/opt/course/docker/entrypoint"]
USER 50000:0

FROM base AS airflow
# On a cluster the DAGs may come from a git repository.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/*
COPY --from=airflow-packages /opt/venv /opt/venv
# Celery's settings lie beside the plugins, and are wanted before Airflow looks there.
ENV AIRFLOW_HOME=/opt/airflow \
    PYTHONPATH=/opt/course/src:/opt/course/plugins
EXPOSE 8080
COPY --from=code --chown=50000:0 /course/ /opt/course/
COPY --chown=50000:0 plugins/ /opt/course/plugins/
COPY --chown=50000:0 dags/ /opt/course/dags/
ENTRYPOINT ["tini", "-g", "--", "/opt/course/docker/entrypoint"]
USER 50000:0

# Last, for the classic builder makes every stage before the one that is asked for.
FROM installer AS training-gpu-packages
RUN uv pip install --no-cache --compile-bytecode --require-hashes \
    --requirement /tmp/requirements/training-gpu.txt

FROM base AS training-gpu
COPY --from=training-gpu-packages /opt/venv /opt/venv
COPY --from=code --chown=50000:0 /course/ /opt/course/
ENTRYPOINT ["tini", "-g", "--", "/opt/course/docker/entrypoint"]
USER 50000:0
