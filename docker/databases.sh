#!/bin/sh
# One database and one role for each who keeps something in PostgreSQL; runs once, on an empty volume.
set -eu
while IFS='=' read -r name password; do
    [ -n "$name" ] || continue
    psql --quiet --set ON_ERROR_STOP=1 --dbname postgres --set name="$name" --set password="$password" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'name') WHERE :'name' <> 'monitor' \gexec
SELECT format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', :'name') WHERE :'name' <> 'monitor' \gexec
SQL
done </run/course/postgres.env
# Reads statistics, and no tables.
psql --quiet --set ON_ERROR_STOP=1 --dbname postgres \
    --command 'GRANT pg_monitor TO monitor' --command 'GRANT CONNECT ON DATABASE airflow TO monitor'
