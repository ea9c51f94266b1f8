#!/bin/sh
# A database with an owner for each line name=password; runs once, where no data are yet.
set -eu
while IFS='=' read -r name password || [ -n "$name" ]; do
    [ -n "$name" ] || continue
    psql --quiet --set ON_ERROR_STOP=1 --dbname postgres --set name="$name" --set password="$password" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
done </run/course/databases.env
